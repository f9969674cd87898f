import type { Failure } from '@ergon/contract'
import { z } from 'zod'
import { describeIssues } from '../../platform/text/describe-issues.ts'
import { parseNumbersAsText } from '../../platform/text/lossless-json.ts'
import { isOutsideOfBase } from './destination.ts'
import { readJobHeaders } from './header-rules.ts'
import type { HttpConfig } from './http-config.ts'
import type { HttpRequest } from './redirect.ts'
import { BODY_TYPES, BodyProblem, readBody } from './request-body.ts'
import { fillPath, PathProblem } from './request-path.ts'

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const
const MAX_URL = 16_384
const WITHOUT_BODY: ReadonlySet<string> = new Set(['GET', 'HEAD'])
const CHANGES_NOTHING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Numbers are texts here, as they were written. */
const scalar = z.union([z.string(), z.boolean()])
const inputSchema = z.strictObject({
  method: z
    .string()
    .transform((text) => text.toUpperCase())
    .pipe(z.enum(METHODS))
    .exactOptional(),
  /** Two names of one thing: below base_url, or a whole URL on one of the allowed hosts. */
  path: z.string().max(MAX_URL).exactOptional(),
  endpoint: z.string().max(MAX_URL).exactOptional(),
  path_parameters: z.record(z.string(), scalar).default({}),
  headers: z.record(z.string(), scalar).default({}),
  query: z.record(z.string(), z.union([scalar, z.array(scalar)])).default({}),
  body: z.unknown().optional(),
  body_type: z.enum(BODY_TYPES).exactOptional(),
})
type HttpInput = z.output<typeof inputSchema>

export type RequestReading = { ok: true; request: HttpRequest } | { ok: false; failure: Failure }

class InputProblem extends Error {}

/** The request that a job asks for, as far as its service allows one; where it may go is judged by `requireAllowedUrl`. */
export function readRequest(inputJson: string | null, config: HttpConfig, jobId: string): RequestReading {
  const { base } = config
  if (base === null)
    return invalid('BASE_URL_MISSING', `service '${config.serviceName}' has no base_url: add one to its runner_config`)
  const text = inputJson ?? '{}'
  const parsed = inputSchema.safeParse(parseNumbersAsText(text))
  if (!parsed.success) {
    return invalid('INPUT_INVALID', `input_data of an http service: ${describeIssues(parsed.error.issues)}`)
  }
  const input = parsed.data
  try {
    const url = composeUrl(input, base)
    const isOwn = url.origin === base.origin
    const own = isOwn ? config.ownHeaders : {}
    // What the registry says cannot be replaced on other hosts either, where it is not sent.
    const read = readJobHeaders(input.headers, config.ownHeaders)
    if (!read.ok) throw new InputProblem(`headers: ${read.problem}`)
    const stated = { ...read.headers, ...own }
    const body = input.body === undefined ? null : readBody(text, input.body, input.body_type, stated['content-type'])
    const method = input.method ?? (body === null ? 'GET' : 'POST')
    if (body !== null && WITHOUT_BODY.has(method)) throw new InputProblem(`body: ${method} has none`)
    if (body !== null && body.bytes.length > config.maxRequestBytes)
      return { ok: false, failure: tooLarge(body.bytes.length, config.maxRequestBytes) }
    const headers = {
      accept: '*/*',
      'user-agent': 'ergon',
      ...(CHANGES_NOTHING.has(method) ? {} : { 'idempotency-key': jobId }),
      ...stated,
      ...(body === null ? {} : { 'content-type': body.contentType }),
      'accept-encoding': 'gzip, deflate, br',
    }
    return { ok: true, request: { method, url, headers, body: body?.bytes ?? null } }
  } catch (error) {
    if (error instanceof InputProblem || error instanceof PathProblem || error instanceof BodyProblem)
      return invalid('INPUT_INVALID', `input_data: ${error.message}`)
    throw error
  }
}

function composeUrl(input: HttpInput, base: URL): URL {
  if (input.path !== undefined && input.endpoint !== undefined)
    throw new InputProblem('path and endpoint are two names of one thing: keep one of them')
  const [target = '', ...queries] = (input.path ?? input.endpoint ?? '').split('?')
  const parameters = Object.fromEntries(
    Object.entries(input.path_parameters).map(([name, value]) => [name, String(value)]),
  )
  const path = fillPath(target, parameters)
  const url = /^([a-z][a-z0-9+.-]*:|\/\/)/i.test(path) ? readAbsolute(path, base) : joinPath(base, path)
  if (isOutsideOfBase(url, base)) throw new InputProblem('path: it is not below the path of base_url')
  addQuery(url, queries, input.query, base)
  if (url.href.length > MAX_URL) throw new InputProblem(`the URL is longer than ${MAX_URL} characters`)
  return url
}

function readAbsolute(text: string, base: URL): URL {
  const url = URL.parse(text, base.href)
  if (url === null) throw new InputProblem('path: it is no URL')
  if (url.username !== '' || url.password !== '') throw new InputProblem('path: it holds a user name or password')
  return url
}

function joinPath(base: URL, path: string): URL {
  const url = new URL(base.href)
  if (path !== '') url.pathname = `${base.pathname.replace(/\/$/, '')}/${path.replace(/^\//, '')}`
  return url
}

function addQuery(url: URL, inPath: readonly string[], query: HttpInput['query'], base: URL): void {
  const added = new URLSearchParams(inPath.join('?'))
  for (const [name, value] of Object.entries(query))
    for (const each of Array.isArray(value) ? value : [value]) added.append(name, String(each))
  for (const [name, value] of added) {
    if (base.searchParams.has(name))
      throw new InputProblem(`query/${name.slice(0, 100)} is base_url's own; a job cannot set it`)
    url.searchParams.append(name, value)
  }
}

function tooLarge(observed: number, limit: number): Failure {
  return {
    category: 'RESOURCE_LIMIT',
    code: 'REQUEST_SIZE',
    message: `The body of the request is larger than allowed. request_bytes: limit ${limit}, observed ${observed}.`,
    evidence: { counter: 'request_bytes', limit, observed },
    details: null,
  }
}

function invalid(code: string, message: string): RequestReading {
  return { ok: false, failure: { category: 'VALIDATION_ERROR', code, message, evidence: null, details: null } }
}
