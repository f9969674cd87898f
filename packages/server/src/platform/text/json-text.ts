import { randomUUID } from 'node:crypto'
import { parseLossless } from './lossless-json.ts'

/** JSON that is passed on as it is. JSON.stringify writes it too, number by number; `stringifyAround` costs nothing. */
export class JsonText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  toJSON(): unknown {
    return parseLossless(this.text)
  }
}

/** Stands for a text while what is around it is written; nobody outside can know it. */
const MARK = randomUUID()

/** An object as JSON, one of whose fields is a text that is put in as it is: parsing a megabyte of numbers takes a second. */
export function stringifyAround<Field extends string>(
  value: Record<Field, unknown>,
  field: Field,
  text: JsonText,
): string {
  return JSON.stringify({ ...value, [field]: MARK }).replace(`"${MARK}"`, () => text.text)
}
