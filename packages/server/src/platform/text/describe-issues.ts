/** What zod says of a value: its own words quote keys as they are, however long. */
interface Issue {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

const MAX_ISSUES = 5
const MAX_PART = 100
const MAX_DEPTH = 20
const MAX_MESSAGE = 300

/** The first few things wrong with a value, each with its place: bounded, whatever the value holds. */
export function describeIssues(issues: readonly Issue[], separator: '/' | '.' = '/', whole = ''): string {
  const described = issues.slice(0, MAX_ISSUES).map(({ path, message }) => {
    const parts = path.slice(0, MAX_DEPTH).map((part) => bounded(String(part), MAX_PART))
    const place = separator === '/' ? `/${parts.join('/')}` : parts.join(separator) || whole
    return `${place}: ${bounded(message, MAX_MESSAGE)}`
  })
  const more = issues.length - MAX_ISSUES
  return more > 0 ? `${described.join('; ')}; and ${more} more` : described.join('; ')
}

function bounded(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length).toWellFormed()}…`
}
