import fc from 'fast-check'
import { loadModule, parseSync } from 'libpg-query'
import { beforeAll, expect, it } from 'vitest'
import { dollarQuote, quoteJson, quoteName, quoteText } from './sql-literal.ts'

beforeAll(() => loadModule())

/** The text of the one constant that PostgreSQL's parser finds in a query of nothing else. */
function readBack(literal: string): unknown {
  const { stmts } = parseSync(`select ${literal}`) as {
    stmts: {
      stmt: { SelectStmt: { targetList: { ResTarget: { val: { A_Const: { sval: { sval?: string } } } } }[] } }
    }[]
  }
  expect(stmts).toHaveLength(1)
  const targets = stmts[0]?.stmt.SelectStmt.targetList ?? []
  expect(targets).toHaveLength(1)
  return targets[0]?.ResTarget.val.A_Const.sval.sval ?? ''
}

const text = fc.string({ unit: 'binary' }).map((each) => each.toWellFormed().replaceAll('\u0000', ''))

it('PostgreSQL reads a literal back as the text it was made of', () => {
  fc.assert(
    fc.property(text, (each) => {
      expect(readBack(quoteText(each))).toBe(each)
    }),
  )
  for (const each of [`'`, `\\'; --`, `$$`, `$ergon$`, '\u{1F600}', '\u2028', 'a\nb', `\\x24`, 'é'])
    expect(readBack(quoteText(each))).toBe(each)
}, 60_000)

it('a literal is one line without a dollar sign', () => {
  fc.assert(
    fc.property(text, (each) => {
      expect(quoteText(each)).not.toMatch(/[$\u0000-\u001f\u2028\u202e]/)
    }),
  )
})

it('what has no literal is a fault of ours, not SQL', () => {
  expect(() => quoteText('a\u0000')).toThrow('NUL')
  expect(() => quoteText('\ud800')).toThrow('surrogate')
  expect(() => quoteName('a"b')).toThrow('not the name')
  expect(() => quoteName('a'.repeat(64))).toThrow('not the name')
  expect(() => dollarQuote('select $1')).toThrow('dollar')
})

it('a name is quoted and JSON is typed', () => {
  expect(quoteName('Order')).toBe('"Order"')
  expect(quoteJson('{"a":"\\"$"}')).toBe(String.raw`E'{"a":"\\"\x24"}'::pg_catalog.jsonb`)
})
