const PLACEHOLDER = /\{([A-Za-z_][A-Za-z0-9_]{0,99})\}/g
const MAX_DECODINGS = 3

export class PathProblem extends Error {}

/**
 * A path with its `{name}` places filled in, each value encoded as one part of the path: a slash in a value stays in it.
 * Throws a PathProblem for a path that a server could take for another one than it seems.
 */
export function fillPath(template: string, parameters: Readonly<Record<string, string>>): string {
  const unused = new Set(Object.keys(parameters))
  const filled = template.replace(PLACEHOLDER, (_whole, name: string) => {
    const value = Object.hasOwn(parameters, name) ? parameters[name] : undefined
    if (value === undefined) throw new PathProblem(`"{${name}}" is not among path_parameters`)
    if (value === '') throw new PathProblem(`path_parameters/${name} is empty, which would make another path`)
    unused.delete(name)
    return encode(value)
  })
  for (const name of unused) throw new PathProblem(`path_parameters/${name.slice(0, 100)} is not in the path`)
  requirePlain(filled)
  return filled
}

function encode(value: string): string {
  if (!value.isWellFormed()) throw new PathProblem('a path parameter is not well-formed text')
  return encodeURIComponent(value)
}

/** Refuses what URL parsers, proxies and servers read differently: back-slashes, blanks, fragments, dot segments however encoded. */
function requirePlain(path: string): void {
  const odd = /[^\u0021-\u007e\u00a0-\u{10ffff}]|[\\#{}]/u.exec(path)
  if (odd !== null) throw new PathProblem(`the path holds ${JSON.stringify(odd[0])}, which must be encoded`)
  if (hasDotSegment(path)) throw new PathProblem('the path holds "." or ".." as a part')
}

/** Whether a part of the path is "." or "..", however it is encoded. */
export function hasDotSegment(path: string): boolean {
  for (let text = path, round = 0; ; round++) {
    // Servers that know parameters of a part (";a=b") drop them before they resolve "..".
    if (text.split(/[/\\]/).some((part) => /^\.\.?(;|$)/.test(part))) return true
    const decoded = decodeLeniently(text)
    if (decoded === text) return false
    // What is still encoded after so many rounds is meant to deceive.
    if (round === MAX_DECODINGS) return true
    text = decoded
  }
}

/** Only the signs that matter to a path: broken encodings of others stay as they are. */
function decodeLeniently(text: string): string {
  return text.replace(/%(2e|2f|3b|5c|25)/gi, (code) => decodeURIComponent(code))
}
