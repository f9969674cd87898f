import { expect, it } from 'vitest'
import { z } from 'zod'
import { describeIssues } from './describe-issues.ts'

const schema = z.strictObject({ a: z.record(z.string(), z.string()).exactOptional() })
const issuesOf = (value: unknown) => schema.safeParse(value).error?.issues ?? []

it('names the place and the fault', () => {
  expect(describeIssues(issuesOf({ a: { b: 1 } }))).toBe('/a/b: Invalid input: expected string, received number')
  expect(describeIssues(issuesOf({ a: { b: 1 } }), '.')).toMatch(/^a\.b: /)
  expect(describeIssues(issuesOf(1), '.', 'payload')).toMatch(/^payload: /)
})

it('is bounded, however long keys are and however many', () => {
  const key = '\u{1f600}'.repeat(500_000)
  const keys = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`${i}`, 1]))
  for (const value of [{ [key]: 1 }, { a: { [key]: 1 } }, { a: keys }, keys]) {
    const text = describeIssues(issuesOf(value))
    expect(text.length).toBeLessThan(1_000)
    expect(text.isWellFormed()).toBe(true)
  }
  expect(describeIssues(issuesOf({ a: keys }))).toMatch(/; and 995 more$/)
})
