import { z } from 'zod'
import { isWithin, literalAddress, networksOf } from '../network-address.ts'
import { readSecretFile } from '../bounded-file.ts'
import type { SecretProvider } from './secret-provider.ts'

const MAX_BYTES = 1_048_576
const LOOPBACK = networksOf(['127.0.0.0/8', '::1/128'])

/** The answer of a KV engine of version 2 to a read. A deleted version has no data. */
const answerSchema = z.object({
  lease_duration: z.number().default(0),
  data: z.object({
    data: z.record(z.string(), z.unknown()).nullable(),
    metadata: z.object({ deletion_time: z.string().default('') }).prefault({}),
  }),
})

/** HashiCorp Vault, OpenBao and what else speaks their HTTP API: one field of a secret in a key-value engine of version 2. */
export const vaultProvider: SecretProvider = {
  nameForm: 'MOUNT/PATH#FIELD, of letters, digits and "_", "-", "."',

  isName: (name) =>
    /^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(\/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,9}#[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/.test(
      name,
    ),

  async read(name, { vaultAddress, vaultTokenFile }, signal) {
    if (vaultAddress === null) throw new Error('ERGON_VAULT_ADDRESS, the server to ask, is not set')
    if (vaultTokenFile === null) throw new Error('ERGON_VAULT_TOKEN_FILE, the token to ask with, is not set')
    const [place = '', field = ''] = name.split('#')
    const [mount = '', ...parts] = place.split('/')
    const url = new URL(`${vaultAddress.replace(/\/+$/, '')}/v1/${mount}/data/${parts.join('/')}`)
    requirePrivacy(url)
    const token = await readToken(vaultTokenFile)
    const answer = await ask(url, token, signal)
    const value = answer.data.data?.[field]
    if (value === undefined) throw new Error(`${url.origin} has the secret, and no field ${field} in it`)
    if (typeof value !== 'string') throw new Error(`the field ${field} is no text`)
    return { value, expiresInMs: expiryOf(answer) }
  },
}

/** The token goes there: over TLS, or not beyond this machine. */
function requirePrivacy(url: URL): void {
  const address = literalAddress(url.hostname)
  if (url.protocol === 'https:' || (url.protocol === 'http:' && address !== null && isWithin(address, LOOPBACK))) return
  throw new Error(`ERGON_VAULT_ADDRESS must begin with https://, but for an address of this machine's loopback`)
}

async function readToken(file: string): Promise<string> {
  const token = (await readSecretFile(file)).trim()
  if (/^[\u0021-\u007e]+$/.test(token)) return token
  throw new Error(`the file ${file} holds no token`)
}

async function ask(url: URL, token: string, signal: AbortSignal): Promise<z.output<typeof answerSchema>> {
  // Here, since most registries name no vault. An agent of its own: no proxy that a variable names, and no connection that outlives the question.
  const { Agent, request } = await import('undici')
  const agent = new Agent({ pipelining: 0 })
  try {
    const { statusCode, body } = await request(url, {
      dispatcher: agent,
      headers: { 'x-vault-token': token, 'x-vault-request': 'true', accept: 'application/json' },
      signal,
    })
    const bytes: Buffer[] = []
    let length = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > MAX_BYTES) throw new Refusal(`${url.origin} answered with more than ${MAX_BYTES} bytes`)
      bytes.push(chunk)
    }
    if (statusCode !== 200) throw new Refusal(`${url.origin} answered ${statusCode}${STATUSES[statusCode] ?? ''}`)
    const parsed = answerSchema.safeParse(parseJson(Buffer.concat(bytes).toString('utf8')))
    if (!parsed.success) throw new Refusal(`${url.origin} answered with no secret of a key-value engine of version 2`)
    return parsed.data
  } catch (error) {
    if (error instanceof Refusal) throw error
    if (signal.aborted) throw new Error(`${url.origin} did not answer in time`, { cause: error })
    throw new Error(`${url.origin} could not be asked: ${codeOf(error)}`, { cause: error })
  } finally {
    await agent.destroy()
  }
}

class Refusal extends Error {}

/** What the statuses of the API mean; its own words may quote what was asked. */
const STATUSES: Readonly<Record<number, string>> = {
  403: ': the token is not valid or may not read it',
  404: ': there is no such secret, or its newest version is deleted',
  503: ': it is sealed',
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null
  return typeof code === 'string' ? code : 'the connection failed'
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** The sooner of the lease's end and the version's; a lease of nought is none. */
function expiryOf({ lease_duration: seconds, data }: z.output<typeof answerSchema>): number | null {
  const deletedAt = Date.parse(data.metadata.deletion_time)
  const ends = [
    ...(seconds > 0 ? [seconds * 1_000] : []),
    ...(Number.isNaN(deletedAt) ? [] : [Math.max(0, deletedAt - Date.now())]),
  ]
  return ends.length === 0 ? null : Math.min(...ends)
}
