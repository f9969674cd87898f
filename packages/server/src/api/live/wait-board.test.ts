import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Wait, WaitBoard } from './wait-board.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('says why jobs wait: soon to who comes, then to all in one round', async () => {
  const asked: string[][] = []
  let isAway = false
  const db = {
    query(_text: string, [ids]: readonly unknown[] = []) {
      asked.push(ids as string[])
      if (isAway) return Promise.reject(new Error('away'))
      const rows = (ids as string[]).map((job_id) => ({
        job_id,
        gate: null,
        reason: `of ${job_id}`,
        waits_until: null,
      }))
      return Promise.resolve({ rows, rowCount: rows.length })
    },
  }
  const faults: unknown[] = []
  const board = new WaitBoard(db, (error) => faults.push(error))
  const told: Wait[] = []
  const stops = Array.from({ length: 450 }, (_, n) => board.watch(`Job-${n}`, (wait) => told.push(wait)))
  await vi.advanceTimersByTimeAsync(200)
  expect(asked.map(({ length }) => length)).toEqual([200, 200, 50])
  expect(told).toHaveLength(450)
  expect(told[7]).toEqual({ gate: null, reason: 'of job-7', until: null })

  await vi.advanceTimersByTimeAsync(5_000)
  expect(asked).toHaveLength(6)
  stops.push(board.watch('late', (wait) => told.push(wait)))
  await vi.advanceTimersByTimeAsync(200)
  expect(asked.at(-1)).toEqual(['late'])

  isAway = true
  await vi.advanceTimersByTimeAsync(10_000)
  isAway = false
  expect(faults).toHaveLength(2)
  for (const stop of stops.slice(1)) stop()
  asked.length = 0
  await vi.advanceTimersByTimeAsync(5_000)
  expect(asked).toEqual([['job-0']])
  stops[0]?.()
  await vi.advanceTimersByTimeAsync(20_000)
  expect(asked).toHaveLength(1)
  board.stop()
  expect(vi.getTimerCount()).toBe(0)
})
