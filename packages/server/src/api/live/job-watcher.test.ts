import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EndBell } from './end-bell.ts'
import { type JobState, JobWatcher } from './job-watcher.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A database of jobs that counts its statements and can be away. */
function fakeJobs(jobs: Record<string, string>) {
  const asked: { at: number; ids: string[] }[] = []
  const state = { isAway: false, answersAfterMs: 0 }
  const db = {
    async query(_text: string, [ids]: readonly unknown[] = []) {
      const list = ids as string[]
      asked.push({ at: performance.now(), ids: list })
      if (state.isAway) throw new Error('away')
      const rows = list.flatMap((id) => (jobs[id] === undefined ? [] : [{ id, status: jobs[id], version: jobs[id] }]))
      if (state.answersAfterMs > 0) await new Promise((resolve) => setTimeout(resolve, state.answersAfterMs))
      return { rows, rowCount: rows.length }
    },
  }
  return { db, asked, state }
}

const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const id = uuid(1)

describe('a watcher of jobs', () => {
  it('tells the state soon, then each change once', async () => {
    const jobs = { [id]: 'pending' }
    const { db } = fakeJobs(jobs)
    const watcher = new JobWatcher(db, () => {})
    const told: (string | undefined)[] = []
    watcher.watch(id.toUpperCase(), (state) => told.push(state?.status))
    await vi.advanceTimersByTimeAsync(1_000)
    jobs[id] = 'running'
    await vi.advanceTimersByTimeAsync(1_000)
    delete jobs[id]
    await vi.advanceTimersByTimeAsync(1_000)
    expect(told).toEqual(['pending', 'running', undefined])
    watcher.stop()
  })

  it('asks for a job that is gone no more often than for another', async () => {
    const { db, asked } = fakeJobs({})
    const watcher = new JobWatcher(db, () => {})
    watcher.watch(id, () => {}, 'follow')
    await vi.advanceTimersByTimeAsync(10_000)
    expect(asked.length).toBeLessThan(60)
    watcher.stop()
  })

  it('tells a listener that comes while the answer is under way of what changed since', async () => {
    const jobs = { [id]: 'pending' }
    const { db, state } = fakeJobs(jobs)
    state.answersAfterMs = 40
    const watcher = new JobWatcher(db, () => {})
    watcher.watch(id, () => {})
    await vi.advanceTimersByTimeAsync(20)
    jobs[id] = 'completed'
    let seen: JobState | null | undefined
    watcher.watch(id, (at) => (seen = at))
    // The answer that was under way, one more question, and its answer.
    await vi.advanceTimersByTimeAsync(40 + 10 + 40)
    expect(seen).toMatchObject({ status: 'completed' })
    watcher.stop()
  })

  it('asks for a thousand idle jobs a few times a second', async () => {
    const ids = Array.from({ length: 1_000 }, (_, n) => uuid(n))
    const { db, asked } = fakeJobs(Object.fromEntries(ids.map((each) => [each, 'pending'])))
    const watcher = new JobWatcher(db, () => {})
    for (const each of ids) {
      watcher.watch(each, () => {}, 'follow')
      await vi.advanceTimersByTimeAsync(1)
    }
    await vi.advanceTimersByTimeAsync(30_000)
    const before = asked.length
    await vi.advanceTimersByTimeAsync(10_000)
    expect((asked.length - before) / 10).toBeLessThan(25)
    expect(Math.max(...asked.map((each) => each.ids.length))).toBeLessThanOrEqual(500)
    // Nobody is left out.
    expect(new Set(asked.slice(before).flatMap((each) => each.ids)).size).toBe(1_000)
    watcher.stop()
  })

  it('looks at a job that a call waits for at once, whatever else is watched', async () => {
    const ids = Array.from({ length: 1_000 }, (_, n) => uuid(n + 10))
    const jobs = Object.fromEntries([...ids, id].map((each) => [each, 'pending']))
    const { db } = fakeJobs(jobs)
    const watcher = new JobWatcher(db, () => {})
    for (const each of ids) watcher.watch(each, () => {}, 'follow')
    await vi.advanceTimersByTimeAsync(5_000)
    let endedAt = 0
    void watcher.untilEnded(id, 50_000, new AbortController().signal).then(() => (endedAt = performance.now()))
    await vi.advanceTimersByTimeAsync(8)
    jobs[id] = 'completed'
    const changedAt = performance.now()
    await vi.advanceTimersByTimeAsync(50)
    expect(endedAt - changedAt).toBeLessThanOrEqual(10)
    watcher.stop()
  })

  it('looks at once at a job that is rung for, and believes only what it sees', async () => {
    const jobs = { [id]: 'running', [uuid(2)]: 'running' }
    const { db, asked } = fakeJobs(jobs)
    const watcher = new JobWatcher(db, () => {})
    const told: (string | undefined)[] = []
    watcher.watch(id, (state) => told.push(state?.status), 'follow')
    await vi.advanceTimersByTimeAsync(60_000)
    const before = asked.length
    watcher.ring([id, uuid(2), uuid(3)].join(' '))
    await vi.advanceTimersByTimeAsync(5)
    expect(asked.slice(before).map(({ ids }) => ids)).toEqual([[id]])
    expect(told).toEqual(['running'])
    jobs[id] = 'completed'
    watcher.ring(id)
    await vi.advanceTimersByTimeAsync(5)
    expect(told).toEqual(['running', 'completed'])
    watcher.stop()
  })

  it('looks rarely at a job that a call waits for while its end would be told of', async () => {
    const { db, asked } = fakeJobs({ [id]: 'running' })
    const session = { query: async () => ({ rows: [{ locked: true }], rowCount: 1 }) }
    const bell = new EndBell(() => session)
    const watcher = new JobWatcher(db, () => {}, bell)
    const gone = new AbortController().signal
    let resolved = 0
    const wait = () => void watcher.untilEnded(id, 50_000, gone, { orRung: true }).then(() => resolved++)
    wait()
    await vi.advanceTimersByTimeAsync(40)
    // One to see what went before the lock.
    expect(asked.length).toBe(1)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(asked.length).toBeLessThan(8)
    watcher.ring(id)
    await vi.advanceTimersByTimeAsync(0)
    expect(resolved).toBe(1)
    bell.lose()
    const before = asked.length
    vi.spyOn(session, 'query').mockRejectedValue(new Error('away'))
    wait()
    await vi.advanceTimersByTimeAsync(40)
    expect(asked.length - before).toBeGreaterThan(4)
    watcher.stop()
  })

  it('asks a database that is away less and less, also when new jobs come, and goes on with all of them', async () => {
    const ids = Array.from({ length: 20 }, (_, n) => uuid(n))
    const jobs = Object.fromEntries(ids.map((each) => [each, 'pending']))
    const { db, asked, state } = fakeJobs(jobs)
    let faults = 0
    const watcher = new JobWatcher(db, () => faults++)
    state.isAway = true
    const told = new Set<string>()
    for (const each of ids) {
      watcher.watch(each, () => told.add(each))
      await vi.advanceTimersByTimeAsync(1_000)
    }
    expect(asked.length).toBeLessThan(10)
    expect(faults).toBe(asked.length)
    expect(told.size).toBe(0)
    state.isAway = false
    await vi.advanceTimersByTimeAsync(5_100)
    expect(told.size).toBe(20)
    watcher.stop()
  })

  it('goes on when a listener throws', async () => {
    const jobs = { [id]: 'pending' }
    const { db } = fakeJobs(jobs)
    const faults: unknown[] = []
    const watcher = new JobWatcher(db, (error) => faults.push(error))
    const told: (string | undefined)[] = []
    watcher.watch(id, () => {
      throw new Error('of a listener')
    })
    watcher.watch(id, (state) => told.push(state?.status))
    await vi.advanceTimersByTimeAsync(500)
    jobs[id] = 'failed'
    await vi.advanceTimersByTimeAsync(500)
    expect(told).toEqual(['pending', 'failed'])
    expect(faults).toHaveLength(2)
    watcher.stop()
  })

  it('forgets jobs that nobody watches, and lets those that wait go when it stops', async () => {
    const { db, asked } = fakeJobs({ [id]: 'pending' })
    const watcher = new JobWatcher(db, () => {})
    const stop = watcher.watch(id, () => {})
    await vi.advanceTimersByTimeAsync(100)
    stop()
    expect(watcher.watchedCount).toBe(0)
    const before = asked.length
    await vi.advanceTimersByTimeAsync(5_000)
    expect(asked.length - before).toBeLessThanOrEqual(1)

    let isOver = false
    void watcher.untilEnded(id, 50_000, new AbortController().signal).then(() => (isOver = true))
    await vi.advanceTimersByTimeAsync(100)
    watcher.stop()
    await vi.advanceTimersByTimeAsync(0)
    expect(isOver).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })
})
