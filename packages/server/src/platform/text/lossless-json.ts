/** ECMAScript's JSON.parse source text access, which TypeScript's libraries do not declare yet. */
interface LosslessJson {
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown
  rawJSON(text: string): unknown
  isRawJSON(value: unknown): boolean
}
const json = JSON as unknown as LosslessJson

/**
 * Parses JSON so that JSON.stringify gives every number back as it was written (12345678901234567890, 1.0, 1e400).
 * Numbers in the result are opaque: use it to carry and print values, not to compute with them.
 */
export function parseLossless(text: string): unknown {
  return json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? json.rawJSON(source) : value,
  )
}

/** Whether a value is a number that `parseLossless` carries. */
export function isLosslessNumber(value: unknown): boolean {
  return json.isRawJSON(value)
}
