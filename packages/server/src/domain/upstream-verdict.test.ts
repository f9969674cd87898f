import { expect, it } from 'vitest'
import { decideByStatus, isRefusedSignIn, wallTimeFailure } from './upstream-verdict.ts'

it.each([
  [401, true],
  [403, true],
  [404, false],
  [429, false],
  [500, false],
])('an answer with status %i may mean that a secret is out of date: %s', (status, expected) => {
  const verdict = decideByStatus(status, 'GET /')
  expect(verdict.kind === 'failed' && isRefusedSignIn(verdict.failure)).toBe(expected)
})

it('a failure without an answer says nothing of secrets', () => {
  expect(isRefusedSignIn(wallTimeFailure(1, 2))).toBe(false)
})
