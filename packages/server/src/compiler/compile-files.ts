import { constants } from 'node:fs'
import { open, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { MAX_YAML_BYTES } from '../platform/yaml/located-yaml.ts'
import type { RegistryProfile } from '../registry/parse-registry.ts'
import { reasonOf } from '../registry/read-registry.ts'
import { RegistryError } from '../registry/registry-fault.ts'
import { compileEntities, planEntities } from './compile.ts'
import { HEADER } from './emit/emit-entity.ts'
import type { SourceText } from './entity/read-entity.ts'
import { readServices } from './read-services.ts'
import { emitTypes, TYPES_FILE, TYPES_HEADER } from './types/emit-types.ts'

export interface CompileRequest {
  /** Paths of entity files. */
  entities: readonly string[]
  /** Null where nobody named one, which throws REGISTRY_NOT_FOUND. */
  registry: string | null
  profile: RegistryProfile
  version: string
  kind: 'functions' | 'snippets' | 'types'
  /** The folder to write to or to compare with; null to do neither. */
  out: string | null
  isCheck: boolean
}

export interface WrittenFile {
  name: string
  text: string
}

/**
 * Compiles files and writes or compares what comes of them. Throws ENTITY_INVALID, FILE_UNREADABLE, FILE_UNWRITABLE,
 * COMPILED_STALE or what the registry's reading throws; where it throws for a fault, nothing was written.
 */
export async function compileFiles(request: CompileRequest): Promise<WrittenFile[]> {
  if (request.registry === null)
    throw new RegistryError(
      'REGISTRY_NOT_FOUND',
      'Service registry not found: name one with --registry FILE or the setting ERGON_REGISTRY',
    )
  const services = await readServices(request.registry, request.profile)
  const entities = new Map(request.entities.map((file) => [path.resolve(file), file]))
  const sources = await Promise.all([...entities.values()].map(readSource))
  const options = { services, version: request.version, isSnippet: request.kind === 'snippets' }
  const files =
    request.kind === 'types'
      ? [{ name: TYPES_FILE, text: emitTypes(services, planEntities(sources, options), request.version) }]
      : compileEntities(sources, options).map(({ name, sql }) => ({ name, text: sql }))
  if (request.out === null) return files
  if (request.isCheck) await requireCurrent(request.out, files, request.kind)
  else await write(request.out, files)
  return files
}

async function readSource(file: string): Promise<SourceText> {
  try {
    // A pipe must not be waited for, and a device has no end.
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stat = await handle.stat()
      if (!stat.isFile()) throw new Error('it is not a regular file')
      // Read only as far as the bound; what is longer is told by the reader of YAML.
      const buffer = Buffer.alloc(Math.min(stat.size, MAX_YAML_BYTES + 1))
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0)
      return { file, text: new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, bytesRead)) }
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw new ErgonError('FILE_UNREADABLE', `the entity file ${file} cannot be read: ${reasonOf(error)}`, {
      cause: error,
    })
  }
}

/** Each file beside its place first, so that none is ever half a file. */
async function write(folder: string, files: readonly WrittenFile[]): Promise<void> {
  try {
    await mkdir(folder, { recursive: true })
    for (const { name, text } of files) {
      const place = path.join(folder, name)
      const draft = `${place}.${process.pid}.draft`
      try {
        await writeFile(draft, text, { flag: 'wx' })
        await rename(draft, place)
      } catch (error) {
        await rm(draft, { force: true })
        throw error
      }
    }
  } catch (error) {
    throw new ErgonError('FILE_UNWRITABLE', `${folder} cannot be written to: ${reasonOf(error)}`, { cause: error })
  }
}

async function requireCurrent(
  folder: string,
  files: readonly WrittenFile[],
  kind: CompileRequest['kind'],
): Promise<void> {
  const problems: string[] = []
  for (const { name, text } of files) {
    const present = await readFile(path.join(folder, name), 'utf8').catch(() => null)
    if (present === null) problems.push(`${name} is missing`)
    else if (present !== text) problems.push(`${name} is not what its entity file compiles to`)
  }
  const expected = new Set(files.map(({ name }) => name))
  const header = kind === 'types' ? TYPES_HEADER : HEADER
  for (const name of await readdir(folder).catch(() => [])) {
    if (expected.has(name) || !name.endsWith(kind === 'types' ? '.ts' : '.sql')) continue
    const present = await readFile(path.join(folder, name), 'utf8').catch(() => '')
    if (present.startsWith(header))
      problems.push(`${name} was compiled from a file that is not among these: name that one too, or delete this one`)
  }
  if (problems.length === 0) return
  throw new ErgonError(
    'COMPILED_STALE',
    [`${folder} is not up to date; run the command without --check:`, ...problems].join('\n  '),
  )
}
