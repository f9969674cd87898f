/** Headers that belong to one connection or that this runner writes itself: neither a registry nor a job sets them. */
const MANAGED: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'accept-encoding',
])
/** What makes of an answer a part of it, or text that is not what it says: nothing here puts it together again. */
const OF_ANSWER: ReadonlySet<string> = new Set(['accept-charset', 'if-range', 'range', 'request-range'])

/**
 * What a server believes of whoever stands before it: another sender, host, path, scheme, method or user than the
 * request's own. No list of names is complete, so these are families.
 */
const OF_GATEWAYS: readonly RegExp[] = [
  /^(via|forwarded|max-forwards|remote-user|cookie2|set-cookie2?)$/,
  /^(cf|cdn|fastly|akamai|sec)-/,
  /(^|-)(forward|forwarded|original|originating|rewrite|override|envoy|accel|sendfile|nginx|vercel|akamai|webauth)(-|$)/,
  /(^|-)(client|real|remote|source|connecting|cluster|peer)-?(ip|addr|address|host|port|cert|dn|verify)(-|$)/,
  /^x-(http-)?(method|host|path|uri|url|scheme|proto|protocol|port)$/,
  /^-?(http-)?method$/,
  /^x-(ssl|tls|proxy|proxyuser|azure|arr|remote|authenticated|authentik|consumer|auth-request|amzn-oidc|goog-iap|goog-authenticated|ms-client|appengine)(-|$)/,
]
const NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/
/** Of a job's headers together, names and values. */
const MAX_BYTES = 16_384
const MAX_HEADERS = 100

/** What survives a redirect to another origin: nothing that could be a credential. */
const KEPT_ACROSS_ORIGINS: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'content-type',
  'user-agent',
])

/** Whether a header can carry the text as its value. */
export function isHeaderValue(value: string): boolean {
  return /^[\t\u0020-\u007e\u0080-\u00ff]*$/.test(value)
}

/** The name by which servers find a header: gateways such as CGI and WSGI take "_" and "-" for one sign. */
function keyOf(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

/** Why a header cannot be set by anybody but this runner, or null. */
export function whyNotOurs(name: string): string | null {
  return MANAGED.has(keyOf(name)) ? 'is a header that is never taken from a configuration or a job' : null
}

/** Why a job cannot set a header, or null: it says what its own request is, and nothing for those on the way. */
function whyNotOfJob(name: string): string | null {
  const key = keyOf(name)
  if (OF_ANSWER.has(key)) return 'would make another answer of it, such as a part, which is not put together here'
  if (OF_GATEWAYS.some((family) => family.test(key)))
    return 'is what a gateway tells a server of a request, never a job'
  return whyNotOurs(name)
}

/**
 * A job's headers in lower case, or what is wrong with them. `own` are the service's: a job cannot replace what the
 * registry says, least of all its credentials.
 */
export function readJobHeaders(
  headers: Readonly<Record<string, string | number | boolean>>,
  own: Readonly<Record<string, string>>,
): { ok: true; headers: Record<string, string> } | { ok: false; problem: string } {
  const read = new Map<string, string>()
  const taken = new Set(Object.keys(own).map(keyOf)).add('authorization')
  const seen = new Set<string>()
  let bytes = 0
  for (const [name, given] of Object.entries(headers)) {
    const key = keyOf(name)
    const shown = JSON.stringify(name.slice(0, 100))
    const value = String(given)
    bytes += name.length + value.length
    if (!NAME.test(name)) return refused(`${shown} is not the name of an HTTP header`)
    const reason = whyNotOfJob(name)
    if (reason !== null) return refused(`${shown} ${reason}`)
    if (taken.has(key)) return refused(`${shown} is the service's own; a job cannot set it`)
    if (seen.has(key)) return refused(`${shown} stands there twice; case does not count, nor "_" for "-"`)
    if (!isHeaderValue(value)) return refused(`the value of ${shown} holds a character that no HTTP header can`)
    seen.add(key)
    read.set(name.toLowerCase(), value)
  }
  if (bytes > MAX_BYTES || read.size > MAX_HEADERS)
    return refused(`they are more than ${MAX_HEADERS} or longer than ${MAX_BYTES} bytes together`)
  return { ok: true, headers: Object.fromEntries(read) }
}

/** Whether a service's own headers or query may hold what lets it in. */
export function isCredentialed(own: Readonly<Record<string, string>>, base: URL | null): boolean {
  return Object.keys(own).some((name) => !KEPT_ACROSS_ORIGINS.has(name)) || (base !== null && base.search !== '')
}

/** The headers that may follow a redirect to another origin. */
export function withoutCredentials(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => KEPT_ACROSS_ORIGINS.has(name)))
}

function refused(problem: string): { ok: false; problem: string } {
  return { ok: false, problem }
}
