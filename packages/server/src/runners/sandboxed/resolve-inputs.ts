import type { Failure, JobPayload } from '@ergon/contract'
import type { ArtifactStore } from '../../artifacts/artifact-store.ts'
import type { SandboxFile } from '../../sandbox/sandbox.ts'
import type { ExecutionContext } from '../runner.ts'
import { validationFailure } from './read-payload.ts'

/** Names that sandboxd takes for a file. */
export const FILE_NAME: RegExp = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
/** Names of the input folder that are the job's own, with what has them. */
const RESERVED_NAMES = [['parameters.json', "the job's parameters"]] as const satisfies [string, string][]

type Resolution = { ok: true; datasets: SandboxFile[] } | { ok: false; failure: Failure }

/** The inputs of a payload: its datasets, and the name of the file that its program becomes. */
export async function resolveInputs(
  payload: JobPayload,
  store: ArtifactStore,
  context: ExecutionContext,
): Promise<Resolution> {
  const { entrypoint } = payload.inputs.object.runtime
  if (entrypoint !== undefined && !FILE_NAME.test(entrypoint)) return misnamed('entrypoint', entrypoint)
  const datasets = payload.inputs.object.dependencies.filter((dependency) => dependency.kind === 'dataset')
  return resolveDatasets(datasets, RESERVED_NAMES, store, context)
}

/** Turns dataset references into readable files, or says which is missing, misnamed or not the tenant's. */
export async function resolveDatasets(
  references: readonly { digest: string; name?: string | undefined }[],
  reserved: readonly (readonly [name: string, what: string])[],
  store: ArtifactStore,
  context: ExecutionContext,
): Promise<Resolution> {
  const wanted = references.map(({ digest, name = digest.slice('sha256:'.length) }) => ({ digest, name }))
  const wrong = findWrongName(wanted, reserved)
  if (wrong !== null) return wrong
  const granted =
    wanted.length === 0 ? new Set<string>() : await context.resolveDatasets(wanted.map(({ digest }) => digest))
  const datasets: SandboxFile[] = []
  for (const { digest, name } of wanted) {
    const sizeBytes = granted.has(digest) ? await store.size(digest) : null
    if (sizeBytes === null) return { ok: false, failure: missing(name, digest) }
    datasets.push({
      path: `input/${name}`,
      sizeBytes,
      read: () => readStored(store, digest),
    })
  }
  return { ok: true, datasets }
}

/** A name that is no plain file name, or that two inputs have: each is a file of one folder. */
function findWrongName(
  datasets: readonly { name: string; digest: string }[],
  reserved: readonly (readonly [name: string, what: string])[],
): Resolution | null {
  const taken = new Map<string, string>(reserved)
  for (const [index, { name, digest }] of datasets.entries()) {
    if (!FILE_NAME.test(name)) return misnamed('dataset name', name)
    const what = `dataset ${index + 1} (${digest})`
    const other = taken.get(name)
    if (other !== undefined) {
      const message = `two inputs are called "${name}": ${other} and ${what}; give each dataset a name of its own`
      return { ok: false, failure: validationFailure('INPUT_NAME_INVALID', message) }
    }
    taken.set(name, what)
  }
  return null
}

async function* readStored(store: ArtifactStore, digest: string): AsyncGenerator<Buffer> {
  for await (const chunk of await store.read(digest)) yield chunk
}

/** The refusal of a name that is no plain file name. */
export function misnamed(what: string, value: string): { ok: false; failure: Failure } {
  const message = `${what} ${JSON.stringify(value)} is not a plain file name: letters, digits, dot, dash and underscore, at most 128, beginning with a letter, digit or underscore`
  return {
    ok: false,
    failure: validationFailure('INPUT_NAME_INVALID', message),
  }
}

function missing(name: string, digest: string): Failure {
  const message = `dataset "${name}" (${digest}) is not stored for this tenant; upload it, then submit the job again`
  return {
    category: 'DEPENDENCY_ERROR',
    code: 'DATASET_MISSING',
    message,
    evidence: null,
    details: null,
  }
}
