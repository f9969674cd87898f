import fc from 'fast-check'
import { loadModule, parseSync } from 'libpg-query'
import { beforeAll, describe, expect, it } from 'vitest'
import { INTERVAL, JSONB, NUMERIC, TEXT, TIMESTAMP, UUID } from '../sql-type.ts'
import { ExpressionError, parseExpression, parseUpdate } from './parse-expression.ts'
import { assign, MeaningError, type Scope, writeExpression } from './write-expression.ts'

beforeAll(() => loadModule())

const TYPES = { n: NUMERIC, t: TEXT, at: TIMESTAMP, id: UUID, j: JSONB, d: INTERVAL }
const SCOPE: Scope = {
  reference: (root) => SCOPE.column(root),
  column: (name) => {
    if (!Object.hasOwn(TYPES, name)) throw new MeaningError(`no ${name}`)
    return { sql: `_${name}`, type: TYPES[name as keyof typeof TYPES] }
  },
}
const write = (text: string) => writeExpression(parseExpression(text), SCOPE).sql

describe('an expression', () => {
  it.each([
    [`1 + 2 * 3 - -n`, `((1 + (2 * 3)) - (- _n))`],
    [`not n > 1 and t = 'a' or true`, `(((not (_n > 1)) and (_t = 'a')) or true)`],
    [`not not (n > 1)`, `((_n > 1) is true)`],
    [`t || 'it''s' || n`, `((_t || 'it''s') || _n)`],
    [`n != 1.50 AND t IS NOT NULL`, `((_n <> 1.50) and (_t is not null))`],
    [`t not in ('a', 'b')`, `(_t not in ('a', 'b'))`],
    [`coalesce(t, 'x')`, `coalesce(_t, 'x')`],
    [`round(n, 2)`, `pg_catalog.round((_n)::numeric, (2)::integer)`],
    [`at - interval '1 day' < now()`, `((_at - '1 day'::pg_catalog.interval) < pg_catalog.now())`],
    [`n = .5e3`, `(_n = 0.5e3)`],
    [`t = '\\'`, String.raw`(_t = E'\\')`],
    [`n - - n`, `(_n - (- _n))`],
  ])('%s', (text, sql) => {
    expect(write(text)).toBe(sql)
    expect(() => parseSync(`select ${sql}`)).not.toThrow()
  })

  it.each([
    [`1 +`, ExpressionError],
    [`(1`, ExpressionError],
    [`a b`, ExpressionError],
    [`1 = 2 = 3`, ExpressionError],
    [`t::uuid`, ExpressionError],
    [`'a`, ExpressionError],
    ['`', ExpressionError],
    [`t is 1`, ExpressionError],
    [`${'-'.repeat(100)}1`, ExpressionError],
    [`n = t`, MeaningError],
    [`n and true`, MeaningError],
    [`t + 1`, MeaningError],
    [`id || id`, MeaningError],
    [`lower(n)`, MeaningError],
    [`coalesce(n, t)`, MeaningError],
    [`coalesce(n)`, MeaningError],
    [`interval '1 day; x'`, MeaningError],
    [`n in ()`, MeaningError],
    [`set_config('a', 'b', true)`, MeaningError],
  ])('refuses %s', (text, error) => {
    expect(() => write(text)).toThrow(error)
  })

  it('of any text is refused or parses as one value without another statement or a comment', () => {
    const part = fc.oneof(
      fc.constantFrom(
        'n',
        't',
        '$a.b',
        '(',
        ')',
        "'",
        "''",
        '--',
        '/*',
        ';',
        '$$',
        '||',
        ' and ',
        ' in ',
        '-',
        ' ',
        '1',
        'now()',
        '\n',
      ),
      fc.string({ maxLength: 3 }),
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        let sql: string
        try {
          sql = write(parts.join(''))
        } catch (error) {
          expect(error instanceof ExpressionError || error instanceof MeaningError).toBe(true)
          return
        }
        const { stmts } = parseSync(`select ${sql} as only`) as {
          stmts: { stmt: { SelectStmt?: { targetList?: unknown[] } } }[]
        }
        expect(stmts).toHaveLength(1)
        expect(stmts[0]?.stmt.SelectStmt?.targetList).toHaveLength(1)
      }),
      { numRuns: 2_000, seed: 3 },
    )
  }, 60_000)
})

it('an update has its entity, its assignments and its condition', () => {
  expect(parseUpdate(`Order SET a = 1, b = (2) WHERE a = 3`)).toMatchObject({
    entity: 'Order',
    assignments: [{ field: 'a' }, { field: 'b' }],
    where: { kind: 'binary', operator: '=' },
  })
  for (const text of ['', 'Order', 'Order SET', 'Order SET a = 1', 'Order SET a = 1 WHERE', 'SET a = 1 WHERE true'])
    expect(() => parseUpdate(text)).toThrow(ExpressionError)
})

it('a value takes the place of one that is like it', () => {
  expect(assign({ sql: 'x', type: TEXT }, TEXT)).toBe('x')
  expect(assign({ sql: 'x', type: TEXT, isJsonString: true }, UUID)).toBe('(x)::uuid')
  expect(() => assign({ sql: 'x', type: TEXT }, UUID)).toThrow(MeaningError)
  expect(() => assign({ sql: 'x', type: NUMERIC }, TEXT)).toThrow(MeaningError)
})
