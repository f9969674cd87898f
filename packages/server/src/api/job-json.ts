import { JsonText, stringifyAround } from '../platform/text/json-text.ts'

/** An answer as JSON. A job's result is put in as the database has it, which costs nothing, whatever its size. */
export function toJson(value: unknown): string {
  if (typeof value === 'object' && value !== null && 'outputs' in value) {
    const { outputs } = value
    if (typeof outputs === 'object' && outputs !== null && 'result_json' in outputs) {
      const { result_json: result } = outputs
      if (result instanceof JsonText) {
        const text = new JsonText(stringifyAround({ ...outputs, result_json: result }, 'result_json', result))
        return stringifyAround({ ...value, outputs }, 'outputs', text)
      }
    }
  }
  return JSON.stringify(value)
}
