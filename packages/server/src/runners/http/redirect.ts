import { withoutCredentials } from './header-rules.ts'

/** A request as it goes to one place. */
export interface HttpRequest {
  method: string
  url: URL
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>
  body: Buffer | null
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
/** Of what a server sent, in a message. */
const MAX_QUOTED = 200
const OF_BODY: ReadonlySet<string> = new Set([
  'content-type',
  'content-language',
  'content-encoding',
  'content-location',
])

/**
 * The request that a redirect asks for, as the fetch standard has it, or null when the answer is none. Where it leads to
 * another origin, no credential goes along, and none comes back.
 */
export function followRedirect(request: HttpRequest, statusCode: number, location: string | null): HttpRequest | null {
  const url = leadsTo(request.url, statusCode, location)
  if (url === null) return null
  url.hash = ''
  url.username = ''
  url.password = ''
  const becomesGet =
    (statusCode === 303 && request.method !== 'HEAD') ||
    ((statusCode === 301 || statusCode === 302) && request.method === 'POST')
  const headers = url.origin === request.url.origin ? request.headers : withoutCredentials(request.headers)
  if (!becomesGet) return { ...request, url, headers }
  const bodiless = Object.fromEntries(Object.entries(headers).filter(([name]) => !OF_BODY.has(name)))
  return { method: 'GET', url, headers: bodiless, body: null }
}

function leadsTo(from: URL, statusCode: number, location: string | null): URL | null {
  return REDIRECTS.has(statusCode) && location !== null ? URL.parse(location, from.href) : null
}

/** Why a redirect that cannot be followed is no answer either, or null for whatever else there is. */
export function describeBrokenRedirect(from: URL, statusCode: number, location: string | null): string | null {
  if (!REDIRECTS.has(statusCode) || leadsTo(from, statusCode, location) !== null) return null
  const problem =
    location === null
      ? 'without a Location'
      : `whose Location (${JSON.stringify(location.slice(0, MAX_QUOTED).toWellFormed())}) is no URL`
  return `a redirect ${problem}, so there is nothing to follow`
}
