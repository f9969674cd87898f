/** Nesting beyond which PostgreSQL's own JSON parser may refuse a document. */
export const MAX_JSON_DEPTH = 200
const MAX_NUMBER_CHARACTERS = 1_000
const MAX_EXPONENT = 10_000
/**
 * PostgreSQL writes 1e400 out as 401 digits, so that 1 MiB of exponents would read back as 1 GiB, which no client can
 * read. An array of the largest doubles (1e308) as long as result.json may be stays within this.
 */
const MAX_WRITTEN_OUT_DIGITS = 64 * 1024 * 1024

export interface ResultProblem {
  code: 'RESULT_NOT_JSON' | 'RESULT_TOO_DEEP' | 'RESULT_NOT_STORABLE'
  message: string
}

/**
 * Says why a job's result.json cannot be stored as jsonb, or null when it can. The text itself is what is stored, so
 * that a number is never rounded on the way.
 */
export function checkResultJson(text: string): ResultProblem | null {
  const depth = measureDepth(text)
  if (depth > MAX_JSON_DEPTH) {
    return {
      code: 'RESULT_TOO_DEEP',
      message: `result.json is nested ${depth} levels deep; at most ${MAX_JSON_DEPTH} can be stored.`,
    }
  }
  let found: ResultProblem | null = null
  let writtenOutDigits = 0
  try {
    if (isPlain(text)) {
      JSON.parse(text)
      return null
    }
    // The reviver's third argument is the number as written; TypeScript's own declaration of JSON.parse lacks it.
    const revive = function (this: unknown, key: string, value: unknown, context?: { source?: string }): unknown {
      const name = Array.isArray(this) ? `[${key}]` : `.${key}`
      writtenOutDigits += exponentOf(context?.source)
      found ??= checkString(key, `a key (${JSON.stringify(key)})`) ?? checkValue(value, name, context?.source)
      return value
    }
    JSON.parse(text, revive)
  } catch (error) {
    return { code: 'RESULT_NOT_JSON', message: explainSyntax(text, error) }
  }
  return found ?? checkWrittenOut(writtenOutDigits)
}

/**
 * Whether nothing in a text can be a problem, as in most: then it is only parsed, which costs a tenth of looking at each
 * value. Without escapes no string holds NUL or a lone surrogate, without exponents no number is long by itself.
 */
function isPlain(text: string): boolean {
  return !text.includes('\\') && text.isWellFormed() && !/\d[eE]|(?<!\d)\d{300}/.test(text)
}

function checkWrittenOut(digits: number): ResultProblem | null {
  if (digits <= MAX_WRITTEN_OUT_DIGITS) return null
  return {
    code: 'RESULT_NOT_STORABLE',
    message: `result.json: its numbers have ${digits} digits when they are written out without exponents; at most ${MAX_WRITTEN_OUT_DIGITS} can be stored.`,
  }
}

/** How many digits a number's exponent stands for; 0 for what is no number. */
function exponentOf(source: string | undefined): number {
  return source === undefined ? 0 : Math.abs(Number(/e([+-]?\d+)$/i.exec(source)?.[1] ?? 0))
}

function checkValue(value: unknown, name: string, source: string | undefined): ResultProblem | null {
  if (typeof value === 'string') return checkString(value, `the string at ${name}`)
  if (typeof value !== 'number' || source === undefined) return null
  if (source.length <= MAX_NUMBER_CHARACTERS && exponentOf(source) <= MAX_EXPONENT) return null
  return {
    code: 'RESULT_NOT_STORABLE',
    message: `result.json: the number at ${name} is too large to be stored (${source.slice(0, 40)}…).`,
  }
}

function checkString(value: string, what: string): ResultProblem | null {
  if (value.includes('\u0000')) {
    return {
      code: 'RESULT_NOT_STORABLE',
      message: `result.json: ${what} contains a NUL character, which PostgreSQL cannot store.`,
    }
  }
  if (!value.isWellFormed()) {
    return {
      code: 'RESULT_NOT_STORABLE',
      message: `result.json: ${what} contains a lone surrogate, which is not Unicode text.`,
    }
  }
  return null
}

function explainSyntax(text: string, error: unknown): string {
  const special = /(?<![\w"])(NaN|-?Infinity)(?![\w"])/.exec(text)
  const reason =
    special === null
      ? error instanceof Error
        ? error.message
        : String(error)
      : `${special[0]} is not JSON; write null or a string instead`
  return `result.json is not valid JSON: ${reason.slice(0, 300)}`
}

/** The deepest nesting of brackets outside strings, found without recursion so that hostile depth costs nothing. */
export function measureDepth(text: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (inString) {
      if (c === 0x5c) i++
      else if (c === 0x22) inString = false
    } else if (c === 0x22) inString = true
    else if (c === 0x5b || c === 0x7b) deepest = Math.max(deepest, ++depth)
    else if (c === 0x5d || c === 0x7d) depth--
  }
  return deepest
}
