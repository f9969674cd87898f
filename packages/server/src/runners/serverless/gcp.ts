import http from 'node:http'
import https from 'node:https'
import { pipeline, type Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { DEFAULT_GCP_REGION } from '../../registry/check-serverless.ts'
import type { ServiceConfig } from '../../registry/create-services.ts'
import { readAnswer } from './answer-text.ts'
import { boundedStream } from './bounded-body.ts'
import { describeFunctionError } from './function-error.ts'
import { createTokenSource, readGcpSignIn, SignInError } from './gcp-identity.ts'
import { createGuardedAgents, type GuardedAgents } from './guarded-agents.ts'
import { type FunctionAnswer, type FunctionCall, type FunctionProvider, noAnswer } from './provider.ts'
import { describeUpstreamError } from './upstream-failure.ts'

const MIB = 1_024 * 1_024
const CONNECT_TIMEOUT_MS = 10_000

/** Google Cloud Functions and Cloud Run, by an HTTP POST with an ID token. */
export const gcp: FunctionProvider = {
  // What functions of the first generation take; later ones take 32 MiB.
  limits: { request: 10 * MIB, event: null, response: 10 * MIB },
  prices: { perGbSecond: 0.0000025, perCall: 0.0000004 },
  defaultMemoryMb: 256,
  prepare(config) {
    const signIn = readGcpSignIn(config)
    const url = functionUrl(config.service.runner_config)
    return async () => {
      const agents = createGuardedAgents(config.service.security_policy.allowed_networks)
      const tokenFor = await createTokenSource(signIn, audienceOf(url), agents)
      return {
        async invoke(call) {
          if (signIn.kind === 'key') call.registerSecret(signIn.key.private_key)
          try {
            const token = await tokenFor()
            if (token !== null) call.registerSecret(token)
            const response = await post(url, call, token, agents)
            return await readResponse(response, call.maxResponseBytes)
          } catch (error) {
            return { ...noAnswer, failure: describeError(error) }
          }
        },
      }
    }
  },
}

/** Made of fields whose syntax is checked, unless the service says the whole address. */
export function functionUrl(config: ServiceConfig<'serverless'>['service']['runner_config']): URL {
  const { endpoint, region = DEFAULT_GCP_REGION, project = '', function_name: name } = config
  return new URL(endpoint ?? `https://${region}-${project}.cloudfunctions.net/${name}`)
}

/** Whom an ID token is for: a function is known by its whole address, a Cloud Run service by its origin. */
export function audienceOf(url: URL): string {
  return url.hostname.endsWith('.cloudfunctions.net') ? url.href : url.origin
}

/** Sends the payload and answers as soon as the head of the answer is there; redirects are not followed. */
function post(
  url: URL,
  call: FunctionCall,
  token: string | null,
  agents: GuardedAgents,
): Promise<http.IncomingMessage> {
  const isTls = url.protocol === 'https:'
  const body = Buffer.from(call.payloadJson)
  return new Promise((resolve, reject) => {
    const request = (isTls ? https : http).request(url, {
      method: 'POST',
      agent: isTls ? agents.https : agents.http,
      signal: call.signal,
      headers: {
        'content-type': 'application/json',
        'content-length': body.length,
        accept: 'application/json',
        'accept-encoding': 'identity',
        'user-agent': 'ergon',
        'idempotency-key': call.jobId,
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
    })
    request.once('response', resolve)
    request.once('error', reject)
    boundConnecting(request, isTls)
    request.end(body)
  })
}

/** A connection that does not come about is nobody's slow function. */
function boundConnecting(request: http.ClientRequest, isTls: boolean): void {
  const timer = setTimeout(() => {
    request.destroy(Object.assign(new Error(`no connection within ${CONNECT_TIMEOUT_MS} ms`), { code: 'ETIMEDOUT' }))
  }, CONNECT_TIMEOUT_MS)
  const done = (): void => clearTimeout(timer)
  request.once('close', done)
  request.once('socket', (socket) => {
    if (socket.connecting) socket.once(isTls ? 'secureConnect' : 'connect', done)
    else done()
  })
}

async function readResponse(response: http.IncomingMessage, maxBytes: number): Promise<FunctionAnswer> {
  const statusCode = response.statusCode ?? 0
  const body: Readable = pipeline(response, boundedStream(maxBytes), () => {})
  const bytes = await buffer(body)
  const answer = readAnswer(bytes, /[/+]json\b/i.test(response.headers['content-type'] ?? ''))
  const known = { ...noAnswer, statusCode, payloadJson: 'json' in answer ? answer.json : null }
  if (statusCode >= 200 && statusCode < 300) return { ...known, failure: 'json' in answer ? null : answer }
  // Google's frameworks say of an answer that it is an exception of the function's own code.
  if (/^(crash|error)$/.test(String(response.headers['x-google-status'])))
    return { ...known, failure: describeFunctionError(`HTTP ${statusCode}`, known.payloadJson) }
  const failure = describeUpstreamError({ asked: 'The function', statusCode, code: '', message: '' })
  return { ...known, failure }
}

/** The failure that an error stands for; throws what is none of Google or the network. */
function describeError(error: unknown) {
  if (error instanceof SignInError) return error.failure
  const isCoded = error instanceof Error && 'code' in error && typeof error.code === 'string'
  const failure = isCoded
    ? describeUpstreamError({
        asked: 'The function',
        statusCode: null,
        code: String(error.code),
        message: error.message,
      })
    : null
  if (failure === null) throw error
  return failure
}
