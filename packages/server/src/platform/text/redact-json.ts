import type { Redactor } from './redact.ts'

/**
 * Hides a redactor's values in the strings, keys and numbers of a JSON text, however they are escaped; everything else
 * stays as it was written, digit for digit. A number that holds a value becomes a string.
 */
export function redactJson(json: string, redactor: Redactor): string {
  const { secrets } = redactor
  if (secrets.isEmpty) return json
  // Without an escape, what a string holds stands there as it is.
  const isPlain = !secrets.inText.has(json)
  if (isPlain && !json.includes('\\')) return json
  let result = ''
  for (let at = 0; at < json.length; ) {
    const quote = json.indexOf('"', at)
    const begin = quote < 0 ? json.length : quote
    const end = quote < 0 ? json.length : endOfString(json, quote)
    const [between, literal] = [json.slice(at, begin), json.slice(begin, end)]
    result += isPlain ? between : redactNumbers(between, redactor)
    result += isPlain && !literal.includes('\\') ? literal : redactString(literal, redactor)
    at = end
  }
  return result
}

function redactString(literal: string, redactor: Redactor): string {
  if (literal === '') return literal
  const text = String(JSON.parse(literal))
  const redacted = redactor.redact(text)
  return redacted === text ? literal : JSON.stringify(redacted)
}

function redactNumbers(between: string, redactor: Redactor): string {
  return between.replace(/[-+.0-9eE]+/g, (number) => {
    const redacted = redactor.redact(number)
    return redacted === number ? number : JSON.stringify(redacted)
  })
}

/** Behind the closing quote of the string that begins at `quote`. */
function endOfString(json: string, quote: number): number {
  for (let at = quote + 1; ; ) {
    const close = json.indexOf('"', at)
    if (close < 0) throw new SyntaxError('a string of the JSON text is not closed')
    let slashes = 0
    while (json[close - 1 - slashes] === '\\') slashes++
    if (slashes % 2 === 0) return close + 1
    at = close + 1
  }
}
