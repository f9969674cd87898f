/** What a server hands out to whoever it let in, or asks of them: the session is the service's, not the job's. */
const OF_SESSION =
  /^(set-cookie2?|.*authenticate|.*authentication-info|authorization|x-amzn-remapped-www-authenticate|(.*-)?(auth|access|refresh|session|security|csrf|xsrf|id|bearer|api)-?(token|key))$/

type Headers = Readonly<Record<string, string | string[] | undefined>>

export interface StorableHeaders {
  headers: Record<string, string | string[]>
  /** Names, in the order they came. */
  left: string[]
}

/** An answer's headers as output_data has them; without those of the session where the service holds credentials. */
export function storableHeaders(headers: Headers, hasCredentials: boolean): StorableHeaders {
  const stored: [string, string | string[]][] = []
  const left: string[] = []
  for (const [name, value = ''] of Object.entries(headers)) {
    if (hasCredentials && OF_SESSION.test(name.toLowerCase())) left.push(plain(name))
    else stored.push([plain(name), Array.isArray(value) ? value.map(plain) : plain(value)])
  }
  return { headers: Object.fromEntries(stored), left }
}

/** As PostgreSQL can hold it. */
function plain(text: string): string {
  return text.toWellFormed().replaceAll('\u0000', '\uFFFD')
}
