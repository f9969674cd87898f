import { closestMatch } from '../../platform/text/closest-match.ts'
import { execProvider } from './exec-provider.ts'
import type { ProvidedSecret, SecretProvider, SecretStores } from './secret-provider.ts'
import { vaultProvider } from './vault-provider.ts'

/** Every provider by the word in front of a reference's colon. */
const PROVIDERS: Readonly<Record<string, SecretProvider>> = { exec: execProvider, vault: vaultProvider }

const READ_TIMEOUT_MS = 10_000
/** A store is asked for so many at once: a registry may name hundreds, and each may be a process. */
const AT_ONCE = 4

/** Says what is wrong with a reference `PROVIDER:NAME`, or null. Repeats the provider alone: the rest may be a secret that somebody wrote there. */
export function findReferenceProblem(reference: string): string | null {
  const { scheme, name, provider } = parse(reference)
  const known = Object.keys(PROVIDERS)
  if (provider === undefined) {
    const similar = closestMatch(scheme, known)
    const hint = similar === undefined ? '' : ` (did you mean "${similar}:"?)`
    return `must be PROVIDER:NAME with one of the providers ${known.join(', ')}${hint}`
  }
  return provider.isName(name) ? null : `is no name of the provider ${scheme}: ${provider.nameForm}`
}

/** What became of one reference. */
export type SecretAnswer = { ok: true; secret: ProvidedSecret } | { ok: false; reason: string }

/** Asks the stores for every reference, each once. Never throws; no reason repeats a value. */
export async function readSecrets(
  references: Iterable<string>,
  stores: SecretStores,
  timeoutMs: number = READ_TIMEOUT_MS,
): Promise<ReadonlyMap<string, SecretAnswer>> {
  const answers = new Map<string, SecretAnswer>()
  const waiting = [...new Set(references)]
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      answers.set(next, await readSecret(next, stores, timeoutMs))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return answers
}

async function readSecret(reference: string, stores: SecretStores, timeoutMs: number): Promise<SecretAnswer> {
  const { name, provider } = parse(reference)
  const problem = findReferenceProblem(reference)
  if (provider === undefined || problem !== null) return { ok: false, reason: problem ?? '' }
  try {
    const secret = await provider.read(name, stores, AbortSignal.timeout(timeoutMs))
    return secret.value === '' ? { ok: false, reason: 'its value is empty' } : { ok: true, secret }
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) }
  }
}

function parse(reference: string): { scheme: string; name: string; provider: SecretProvider | undefined } {
  const colon = reference.indexOf(':')
  const scheme = colon === -1 ? '' : reference.slice(0, colon)
  return {
    scheme,
    name: reference.slice(colon + 1),
    provider: Object.hasOwn(PROVIDERS, scheme) ? PROVIDERS[scheme] : undefined,
  }
}
