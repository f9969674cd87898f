import { parseLossless } from '../../platform/text/lossless-json.ts'

export const BODY_TYPES = ['json', 'form', 'text', 'base64'] as const
export type BodyType = (typeof BODY_TYPES)[number]

export class BodyProblem extends Error {}

const CONTENT_TYPES: Record<BodyType, string> = {
  json: 'application/json',
  form: 'application/x-www-form-urlencoded',
  text: 'text/plain; charset=utf-8',
  base64: 'application/octet-stream',
}

export interface RequestBody {
  bytes: Buffer
  contentType: string
}

/**
 * A job's body as bytes. JSON keeps every number as it was written; `body` is input_data's, with numbers as text.
 * Without a body_type the content type that was asked for decides, and JSON where none was.
 */
export function readBody(
  inputJson: string,
  body: unknown,
  stated: BodyType | undefined,
  contentType: string | undefined,
): RequestBody {
  const type = stated ?? guessType(body, contentType)
  return { bytes: encode(type, body, inputJson), contentType: contentType ?? CONTENT_TYPES[type] }
}

function guessType(body: unknown, contentType: string | undefined): BodyType {
  if (contentType === undefined || /[/+]json\b/i.test(contentType)) return 'json'
  if (typeof body === 'string') return 'text'
  return contentType.toLowerCase().startsWith(CONTENT_TYPES.form) ? 'form' : 'json'
}

function encode(type: BodyType, body: unknown, inputJson: string): Buffer {
  switch (type) {
    case 'json': {
      const { body: asWritten } = parseLossless(inputJson) as { body?: unknown }
      return Buffer.from(JSON.stringify(asWritten))
    }
    case 'form':
      return Buffer.from(toParameters(body).toString())
    case 'text':
      if (typeof body !== 'string') throw new BodyProblem('body must be a string with body_type text')
      return Buffer.from(body)
    case 'base64':
      if (typeof body !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(body) || body.length % 4 !== 0)
        throw new BodyProblem('body must be base64 with body_type base64')
      return Buffer.from(body, 'base64')
  }
}

function toParameters(body: unknown): URLSearchParams {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new BodyProblem('body must be an object with body_type form')
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(body)) {
    for (const each of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (typeof each !== 'string' && typeof each !== 'boolean')
        throw new BodyProblem(`body/${name.slice(0, 100)} must be text, a number, true, false, or a list of these`)
      parameters.append(name, String(each))
    }
  }
  return parameters
}
