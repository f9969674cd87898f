import { expect, it } from 'vitest'
import { parseExact, parseLossless, parseNumbersAsText } from './lossless-json.ts'

it.each(['12345678901234567890', '{"a":[1.0,1e400,-0,"x",null,true]}', '0.1000000000000000055511151231257827'])(
  'gives %s back unchanged',
  (text) => {
    expect(JSON.stringify(parseLossless(text))).toBe(text)
  },
)

it.each(['1.0', ' -1.0', '[[1.0]]', '{"a":\n\t-1.0}', '["x", 1.0]', '{"a":{},"b":[{"c":1.0}]}'])(
  'finds the number of %j wherever it stands',
  (text) => {
    expect(JSON.stringify(parseLossless(text))).toContain('1.0')
    expect(JSON.stringify(parseNumbersAsText(text))).toMatch(/"-?1\.0"/)
  },
)

it('parses what has no number, or digits in strings alone', () => {
  const text = '{"path":"/a1","list":["x","2: 3",true,null],"empty":{}}'
  expect(parseLossless(text)).toEqual(JSON.parse(text))
  expect(parseNumbersAsText(text)).toEqual(JSON.parse(text))
})

it('parseExact carries what a double would change, and gives all else as it is', () => {
  const text = '{"n":640,"half":0.5,"big":12345678901234567890,"one":1.0,"text":"1.0"}'
  const value = parseExact(text)
  expect(value).toMatchObject({ n: 640, half: 0.5, text: '1.0' })
  expect(JSON.stringify(value)).toBe(text)
})
