/** ECMAScript's JSON.parse source text access, which TypeScript's libraries do not declare yet. */
interface LosslessJson {
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown
  rawJSON(text: string): unknown
  isRawJSON(value: unknown): boolean
}
const json = JSON as unknown as LosslessJson

/** Whether a number may stand in a JSON text: after what a value can follow, a digit. In a string it does no harm. */
const MAY_HOLD_NUMBER = /(?:^|[:,[])[ \t\r\n]*-?[0-9]/

/**
 * Parses JSON so that JSON.stringify gives every number back as it was written (12345678901234567890, 1.0, 1e400).
 * Numbers in the result are opaque: use it to carry and print values, not to compute with them.
 */
export function parseLossless(text: string): unknown {
  // A reviver is called for every value, which costs ten times the parsing.
  if (!MAY_HOLD_NUMBER.test(text)) return JSON.parse(text)
  return json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? json.rawJSON(source) : value,
  )
}

/** Parses JSON with numbers as they are, but for those that a double would give back otherwise: they are carried, as by `parseLossless`. */
export function parseExact(text: string): unknown {
  return json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && source !== String(value) ? json.rawJSON(source) : value,
  )
}

/** Parses JSON with every number as the text it was written as: for what becomes text anyway. */
export function parseNumbersAsText(text: string): unknown {
  if (!MAY_HOLD_NUMBER.test(text)) return JSON.parse(text)
  return json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? source : value,
  )
}
