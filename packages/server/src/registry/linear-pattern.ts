import { RE2JS } from 're2js'

/** Instructions of a compiled pattern; each is looked at once a character, so this bounds the time per character. */
const MAX_PROGRAM = 2_000

/** What ajv asks of a regular expression. */
export interface LinearPattern {
  /** The most steps that `test` takes for each character. */
  readonly programSize: number
  test(text: string): boolean
  toString(): string
}

/**
 * Compiles a pattern of JSON Schema for an engine whose time is linear in the text, whatever the pattern. Throws with a
 * message for people: look-around and back-references are what such an engine cannot have.
 */
export function compileLinearPattern(pattern: string, isCaseInsensitive = false): LinearPattern {
  let compiled: RE2JS
  try {
    compiled = RE2JS.compile(RE2JS.translateRegExp(pattern), isCaseInsensitive ? RE2JS.CASE_INSENSITIVE : 0)
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : String(error)
    throw new Error(
      `the pattern ${JSON.stringify(pattern.slice(0, 100))} cannot be used: ${reason.slice(0, 200)}. Patterns run in linear time (RE2 syntax): no look-around, no back-references, no count above 1000`,
      { cause: error },
    )
  }
  if (compiled.programSize() > MAX_PROGRAM)
    throw new Error(
      `the pattern ${JSON.stringify(pattern.slice(0, 100))} is too large once its counts are written out: ${compiled.programSize()} steps, at most ${MAX_PROGRAM}; use maxLength for lengths`,
    )
  return { programSize: compiled.programSize(), test: (text) => compiled.test(text), toString: () => pattern }
}
