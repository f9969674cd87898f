import { describe, expect, it } from 'vitest'
import type { ClaimedJob } from '../queue/types.ts'
import { Attempt } from './attempt.ts'
import { HeldAttempts } from './held-attempts.ts'

function attemptOf(fence: string): Attempt {
  return new Attempt({ id: 'job', fence, attempt: 1 } as ClaimedJob, '/nowhere', () => Promise.resolve(true))
}

describe('HeldAttempts', () => {
  it('keeps the next attempt of a job when the one before it ends late', () => {
    const held = new HeldAttempts()
    const [before, next] = [attemptOf('first'), attemptOf('second')]
    held.begin(before)
    held.begin(next)
    held.end(before)
    expect(held.get({ id: 'job', fence: 'first' })).toBeUndefined()
    expect(held.get({ id: 'job', fence: 'second' })).toBe(next)
    expect(before.spoolFolder).not.toBe(next.spoolFolder)
  })

  it('remembers what began for as long as it runs, is granted, or is too new for the answer', () => {
    const held = new HeldAttempts()
    const [running, granted, over] = [attemptOf('running'), attemptOf('granted'), attemptOf('over')]
    for (const attempt of [running, granted, over]) held.begin(attempt)
    held.end(granted)
    held.end(over)
    held.forgetAllBut([granted.job], over.claimedAt)
    expect(held.hasBegun(over.job)).toBe(true)
    held.forgetAllBut([granted.job], over.claimedAt + 1_000)
    expect([running, granted, over].map(({ job }) => held.hasBegun(job))).toEqual([true, true, false])
  })
})

describe('an attempt', () => {
  it('is lost whatever it was aborted for before, so that nobody waits to hand it back', () => {
    const attempt = attemptOf('a')
    attempt.abort('drained')
    attempt.abort('cancelled')
    expect(attempt.abortReason).toBe('drained')
    attempt.abort('lost')
    attempt.abort('drained')
    expect(attempt.abortReason).toBe('lost')
  })
})
