import { expect, it } from 'vitest'
import { parseLossless } from './lossless-json.ts'

it.each(['12345678901234567890', '{"a":[1.0,1e400,-0,"x",null,true]}', '0.1000000000000000055511151231257827'])(
  'gives %s back unchanged',
  (text) => {
    expect(JSON.stringify(parseLossless(text))).toBe(text)
  },
)
