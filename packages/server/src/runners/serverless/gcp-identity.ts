import type { Failure } from '@ergon/contract'
import { z } from 'zod'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { authOf, findAddressProblem } from '../../registry/check-serverless.ts'
import type { ServiceConfig } from '../../registry/create-services.ts'
import type { GuardedAgents } from './guarded-agents.ts'
import { describeUpstreamError } from './upstream-failure.ts'

/** A key file as Google's console makes it. */
const serviceAccountKeySchema = z.object({
  type: z.literal('service_account'),
  client_email: z.string().min(1),
  private_key: z.string().startsWith('-----BEGIN'),
  private_key_id: z.string().exactOptional(),
  token_uri: z.url().default('https://oauth2.googleapis.com/token'),
})

const oauthAnswerSchema = z.object({
  response: z.object({ data: z.object({ error: z.string().regex(/^[a-z_]{1,40}$/) }) }),
})

/** Where a service's ID tokens come from, as it says and nowhere else. */
export type GcpSignIn =
  | { kind: 'none' }
  /** What the machine gives to every process: Google's application default credentials. */
  | { kind: 'machine' }
  | { kind: 'key'; key: z.output<typeof serviceAccountKeySchema> }

/** No ID token could be had, so that the function was not called. */
export class SignInError extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.message)
    this.failure = failure
  }
}

const SIGN_IN_TIMEOUT_MS = 30_000

/** Reads what auth_config names; throws CONFIG_INVALID, which never repeats the key. */
export function readGcpSignIn({ service, secrets }: ServiceConfig<'serverless'>): GcpSignIn {
  const auth = authOf(service.runner_config)
  if (auth.type === 'none') return { kind: 'none' }
  if (auth.type !== 'service_account') return { kind: 'machine' }
  const name =
    auth.service_account_key_env_var ??
    auth.service_account_key_file ??
    auth.service_account_key_vault ??
    'service_account_key'
  const parsed = serviceAccountKeySchema.safeParse(parseJson(secrets.read(auth, 'service_account_key') ?? ''))
  if (!parsed.success) {
    const fields = [...new Set(parsed.error.issues.map((issue) => issue.path.join('.') || 'the whole'))].join(', ')
    throw new ErgonError(
      'CONFIG_INVALID',
      `${name} is no key of a service account as JSON; wrong or missing: ${fields}`,
    )
  }
  const problem = findAddressProblem(new URL(parsed.data.token_uri), service.security_policy.allowed_networks)
  if (problem !== null) throw new ErgonError('CONFIG_INVALID', `token_uri of the key ${name}: ${problem}`)
  return { kind: 'key', key: parsed.data }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** Gives tokens for an audience, each until shortly before it ends; null where none is sent. */
export async function createTokenSource(
  signIn: GcpSignIn,
  targetAudience: string,
  agents: GuardedAgents,
): Promise<() => Promise<string | null>> {
  if (signIn.kind === 'none') return () => Promise.resolve(null)
  // Not imported above: a worker without such a service has no use for it.
  const { GoogleAuth, IdTokenClient, JWT } = await import('google-auth-library')
  const provider = async () => {
    if (signIn.kind === 'machine') return new GoogleAuth().getIdTokenClient(targetAudience)
    const { client_email: email, private_key: key, private_key_id: keyId, token_uri: tokenUri } = signIn.key
    const idTokenProvider = new JWT({
      email,
      key,
      ...(keyId === undefined ? {} : { keyId }),
      transporterOptions: {
        timeout: SIGN_IN_TIMEOUT_MS,
        // The library knows Google's own address alone; a key says where it is used.
        adapter: (options, request) =>
          request({ ...options, url: new URL(tokenUri), agent: (url) => agentFor(url, agents), redirect: 'error' }),
      },
    })
    return new IdTokenClient({ targetAudience, idTokenProvider })
  }
  let client: ReturnType<typeof provider> | null = null
  return async () => {
    try {
      client ??= provider()
      const headers = await (await client).getRequestHeaders()
      return (headers.get('authorization') ?? '').replace(/^Bearer /, '')
    } catch (error) {
      client = null
      throw new SignInError(describeSignInError(error))
    }
  }
}

function agentFor(url: URL, agents: GuardedAgents) {
  return url.protocol === 'https:' ? agents.https : agents.http
}

/** The library's errors carry the request with the signed assertion: only status and code are taken. */
function describeSignInError(error: unknown): Failure {
  const status = error instanceof Error && 'status' in error ? Number(error.status) : Number.NaN
  const statusCode = Number.isInteger(status) ? status : null
  const code = statusCode === null ? codeOf(error) : oauthErrorOf(error)
  const known = describeUpstreamError({ asked: 'The sign-in to Google', statusCode, code, message: '' })
  return (
    known ?? {
      category: 'INTERNAL_ERROR',
      code: 'CREDENTIALS_UNAVAILABLE',
      message: 'No ID token could be had; auth_config of the service says where they come from.',
      evidence: null,
      details: null,
    }
  )
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** The word that OAuth has for a refusal, such as invalid_grant. */
function oauthErrorOf(error: unknown): string {
  const answer = oauthAnswerSchema.safeParse(error)
  return answer.success ? answer.data.response.data.error : ''
}
