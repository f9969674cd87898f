import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Database } from '../platform/db/database.ts'
import { createLogger } from '../platform/logger.ts'
import type { ClaimedJob } from '../queue/types.ts'
import { Attempt } from './attempt.ts'
import { Heartbeat } from './heartbeat.ts'
import { HeldAttempts } from './held-attempts.ts'

beforeEach(() => vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }))
afterEach(() => vi.useRealTimers())

const silent: Database = { query: () => new Promise(() => {}) }

function beginWith(db: Database): { attempt: Attempt; heartbeat: Heartbeat } {
  const job = { id: 'job', fence: 'fence', attempt: 1 } as ClaimedJob
  const attempt = new Attempt(job, '/nowhere', () => Promise.resolve(true))
  const attempts = new HeldAttempts()
  attempts.begin(attempt)
  const heartbeat = new Heartbeat({
    db,
    idleSession: () => null,
    workerId: 'worker',
    attempts,
    register: () => Promise.resolve(),
    logger: createLogger('test', 'silent'),
  })
  heartbeat.start()
  return { attempt, heartbeat }
}

it('gives its jobs up before the lease ends, although the database neither answers nor hangs up', async () => {
  const { attempt, heartbeat } = beginWith(silent)
  vi.advanceTimersByTime(9_500)
  expect(attempt.abortReason).toBeNull()
  vi.advanceTimersByTime(1_000)
  expect(attempt.abortReason).toBe('lost')
  await heartbeat.stop()
})

it('asks the database first when the process itself had stalled', async () => {
  const { attempt, heartbeat } = beginWith(silent)
  vi.advanceTimersByTime(500)
  const now = performance.now()
  const stalled = vi.spyOn(performance, 'now').mockReturnValue(now + 12_000)
  vi.advanceTimersByTime(500)
  expect(attempt.abortReason).toBeNull()
  stalled.mockReturnValue(now + 12_500)
  vi.advanceTimersByTime(500)
  expect(attempt.abortReason).toBe('lost')
  stalled.mockRestore()
  await heartbeat.stop()
})
