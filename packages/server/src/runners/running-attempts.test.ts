import { expect, test } from 'vitest'
import type { ExecutionContext } from './runner.ts'
import { RunningAttempts } from './running-attempts.ts'

const JOB = '6f0f1ad5-9ad4-4c8b-8f6a-0b6c3e6f2a11'

/** An attempt that ends when it is told to, or with its signal. */
function heldAttempt(attempts: RunningAttempts, signal: AbortSignal = new AbortController().signal) {
  const { promise, resolve } = Promise.withResolvers<string>()
  const context = { signal } as ExecutionContext
  const ended = attempts.hold(JOB, context, (held) => {
    held.signal.addEventListener('abort', () => resolve('aborted'), { once: true })
    return promise
  })
  return { ended, finish: () => resolve('finished') }
}

test('a cancelled job ends, and is held no longer', async () => {
  const attempts = new RunningAttempts()
  const { ended } = heldAttempt(attempts)
  expect(attempts.cancel(JOB)).toBe(true)
  expect(await ended).toBe('aborted')
  expect(attempts.cancel(JOB)).toBe(false)
})

test("the caller's signal ends it too", async () => {
  const caller = new AbortController()
  const { ended } = heldAttempt(new RunningAttempts(), caller.signal)
  caller.abort()
  expect(await ended).toBe('aborted')
})

test('the end of an older attempt does not hide a newer one', async () => {
  const attempts = new RunningAttempts()
  const [older, newer] = [heldAttempt(attempts), heldAttempt(attempts)]
  older.finish()
  expect(await older.ended).toBe('finished')
  expect(attempts.cancel(JOB)).toBe(true)
  expect(await newer.ended).toBe('aborted')
})

test('nothing is held after an attempt that threw', async () => {
  const attempts = new RunningAttempts()
  const context = { signal: new AbortController().signal } as ExecutionContext
  await expect(attempts.hold(JOB, context, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(attempts.cancel(JOB)).toBe(false)
})
