import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkResultJson } from './check-result-json.ts'

describe('checkResultJson', () => {
  it.each(['null', '{"a":[1,2.50,"é"]}', '12345678901234567890', '1e400'])('accepts %s', (text) => {
    expect(checkResultJson(text)).toBeNull()
  })

  it.each([
    ['{"a": NaN}', 'RESULT_NOT_JSON', 'NaN is not JSON'],
    ['[-Infinity]', 'RESULT_NOT_JSON', '-Infinity is not JSON'],
    ['', 'RESULT_NOT_JSON', 'not valid JSON'],
    ['{"a":"x\\u0000"}', 'RESULT_NOT_STORABLE', '.a contains a NUL'],
    ['["\\ud800"]', 'RESULT_NOT_STORABLE', '[0] contains a lone surrogate'],
    ['{"\\ud800":1}', 'RESULT_NOT_STORABLE', 'lone surrogate'],
    ['[1e999999]', 'RESULT_NOT_STORABLE', 'too large'],
    ['['.repeat(100_000), 'RESULT_TOO_DEEP', '100000 levels'],
  ])('refuses %s', (text, code, words) => {
    const problem = checkResultJson(text)
    expect(problem?.code).toBe(code)
    expect(problem?.message).toContain(words)
  })

  it('refuses a small text that PostgreSQL would write out as a gigabyte', () => {
    const problem = checkResultJson(`[${'1e9999,'.repeat(130_000)}0]`)
    expect(problem).toMatchObject({ code: 'RESULT_NOT_STORABLE', message: expect.stringContaining('written out') })
  })

  it('accepts as many of the largest doubles as result.json can hold', () => {
    expect(checkResultJson(`[${'1e308,'.repeat(174_000)}0]`)).toBeNull()
  })

  it('accepts whatever JSON.stringify makes of well-formed values', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const text = JSON.stringify(value)
        fc.pre(!text.includes('\\u0000') && !/\\ud[89a-f]/i.test(text))
        expect(checkResultJson(text)).toBeNull()
      }),
    )
  })
})

it('looks at numbers one by one only where one could be long, and misses none', () => {
  for (const digits of [299, 300, 1_000]) expect(checkResultJson(`[1, ${'7'.repeat(digits)}]`)).toBeNull()
  for (const long of ['7'.repeat(1_001), `0.${'7'.repeat(1_001)}`, '1E20000', '-1.5e+20000', `1${'0'.repeat(5_000)}.5`])
    expect(checkResultJson(`{"a": [1, ${long}]}`)?.code).toBe('RESULT_NOT_STORABLE')
  expect(checkResultJson(`[${Array.from({ length: 4_000 }, () => '7'.repeat(299)).join(',')}]`)).toBeNull()
})
