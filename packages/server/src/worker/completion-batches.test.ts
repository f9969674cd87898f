import { describe, expect, it } from 'vitest'
import type { Completion } from '../queue/complete.ts'
import { CompletionBatches } from './completion-batches.ts'

function completionOf(id: string, outputJson = '{}'): Completion {
  return {
    id,
    fence: id,
    outputJson,
    resourceUsage: null,
    envVersion: null,
    logs: null,
    stdout: null,
    stderr: null,
    artifacts: [],
  }
}

/** Writes that end when they are told to. */
function batchesWith(answer: (ids: string[]) => Set<string>) {
  const written: string[][] = []
  const batches = new CompletionBatches({
    async write(completions) {
      const ids = completions.map(({ id }) => id)
      written.push(ids)
      await new Promise((resolve) => setImmediate(resolve))
      return answer(ids)
    },
    isDataFault: (error) => error instanceof Error && error.message === 'data',
  })
  return { batches, written }
}

describe('CompletionBatches', () => {
  it('writes the first at once and those that come meanwhile together', async () => {
    const { batches, written } = batchesWith((ids) => new Set(ids.filter((id) => id !== 'late')))
    const accepted = await Promise.all(['a', 'b', 'late', 'c'].map((id) => batches.complete(completionOf(id))))
    expect(written).toEqual([['a'], ['b', 'late', 'c']])
    expect(accepted).toEqual([true, true, false, true])
  })

  it('bounds a batch by number and by size', async () => {
    const { batches, written } = batchesWith((ids) => new Set(ids))
    const large = 'x'.repeat(700_000)
    await Promise.all([
      batches.complete(completionOf('first')),
      ...Array.from({ length: 70 }, (_, index) => batches.complete(completionOf(String(index)))),
      batches.complete(completionOf('large', large)),
      batches.complete(completionOf('larger', large)),
    ])
    expect(written.map(({ length }) => length)).toEqual([1, 64, 7, 1])
  })

  it('tries each alone when one value spoils the batch, and tells only that one', async () => {
    const { batches, written } = batchesWith((ids) => {
      if (ids.includes('bad')) throw new Error('data')
      return new Set(ids)
    })
    const ended = await Promise.allSettled(['a', 'b', 'bad', 'c'].map((id) => batches.complete(completionOf(id))))
    expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
    expect(written).toEqual([['a'], ['b', 'bad', 'c'], ['b'], ['bad'], ['c']])
  })

  it('tells all when the database is away, and goes on when it is back', async () => {
    let isAway = true
    const { batches } = batchesWith((ids) => {
      if (isAway) throw new Error('away')
      return new Set(ids)
    })
    const ended = await Promise.allSettled(['a', 'b', 'c'].map((id) => batches.complete(completionOf(id))))
    expect(ended.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    isAway = false
    expect(await batches.complete(completionOf('a'))).toBe(true)
  })
})
