import { describe, expect, it } from 'vitest'
import { describeFunctionError } from './function-error.ts'

describe('the failure of a function', () => {
  it('has the type, the words and the places of Node and of Python', () => {
    const node =
      '{"errorType":"TypeError","errorMessage":"x is undefined","trace":["TypeError: x","    at run (/f.js:1:2)"]}'
    expect(describeFunctionError('Unhandled', node)).toMatchObject({
      code: 'FUNCTION_ERROR',
      message: 'The function failed (Unhandled): TypeError: x is undefined',
      details: { traceback: 'TypeError: x\n    at run (/f.js:1:2)' },
    })
    const python = '{"errorMessage":"1","errorType":"KeyError","stackTrace":[["/f.py",3,"run","d[1]"]]}'
    expect(describeFunctionError('Unhandled', python).details?.traceback).toBe('["/f.py",3,"run","d[1]"]')
  })

  it.each([null, 'null', '[]', '{', '{"errorType":1,"trace":"x"}', '"text"'])(
    'is one whatever the function says: %s',
    (text) => {
      expect(describeFunctionError('Handled', text)).toMatchObject({
        message: 'The function failed (Handled)',
        details: null,
      })
    },
  )

  it('is bounded', () => {
    const long = 'x'.repeat(1_000_000)
    const failure = describeFunctionError('Unhandled', JSON.stringify({ errorMessage: long, trace: [long, long] }))
    expect(JSON.stringify(failure).length).toBeLessThan(25_000)
  })
})
