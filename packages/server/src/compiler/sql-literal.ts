/** What a literal does not carry as it is: what ends a line or a dollar-quoted body, and what an editor shows as something else. */
const ESCAPED = /[\\$\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/

/**
 * A text as a literal of one line. No dollar sign is left in it, so that it cannot end the dollar-quoted body it stands
 * in, also that of a function generated elsewhere. With E'' a backslash means the same whatever the server's settings.
 */
export function quoteText(text: string): string {
  if (text.includes('\u0000') || !text.isWellFormed())
    throw new Error('a text with a NUL or a lone surrogate has no literal')
  const doubled = text.replaceAll("'", "''")
  const escaped = doubled.replace(ESCAPED, escape)
  return escaped === doubled ? `'${doubled}'` : `E'${escaped}'`
}

function escape(character: string): string {
  if (character === '\\') return '\\\\'
  const code = character.charCodeAt(0)
  // \x takes two digits at the most; beyond ASCII it would be a byte, not a character.
  return code < 0x80 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** JSON text as a jsonb literal. */
export function quoteJson(json: string): string {
  return `${quoteText(json)}::pg_catalog.jsonb`
}

/** A name that was checked where it was read, quoted, so that it is never a keyword. */
export function quoteName(name: string): string {
  if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} is not the name of anything in SQL`)
  return `"${name}"`
}

/** The words that PL/pgSQL takes for its own wherever they stand, also after the dot of a field. */
const PLPGSQL_WORDS = new Set(
  'all begin by case declare else end execute for foreach from if in into loop not null or strict then to using when while'.split(
    ' ',
  ),
)

/** A field after a dot, where SQL's keywords are names too. */
export function fieldName(name: string): string {
  return /^[a-z][a-z0-9_]{0,62}$/.test(name) && !PLPGSQL_WORDS.has(name) ? name : quoteName(name)
}

/** The body of a function or block between dollar quotes that nothing in it can end. */
export function dollarQuote(body: string): string {
  if (body.includes('$')) throw new Error('a dollar sign outside of a literal')
  return `$ergon$\n${body}\n$ergon$`
}
