import { describe, expect, it } from 'vitest'
import { WriteBatches } from './write-batches.ts'

/** Writes that end when they are told to. */
function batchesWith(answer: (ids: string[]) => Set<string>) {
  const written: string[][] = []
  const batches = new WriteBatches<{ id: string; text?: string }>({
    async write(items) {
      const ids = items.map(({ id }) => id)
      written.push(ids)
      await new Promise((resolve) => setImmediate(resolve))
      return answer(ids)
    },
    sizeOf: ({ text = '' }) => text.length,
    isDataFault: (error) => error instanceof Error && error.message === 'data',
  })
  return { batches, written }
}

describe('WriteBatches', () => {
  it('writes what comes in one moment together, and what comes while it is busy', async () => {
    const { batches, written } = batchesWith((ids) => new Set(ids.filter((id) => id !== 'late')))
    const accepted = ['a', 'b'].map((id) => batches.write({ id }))
    await Promise.resolve()
    expect(written).toEqual([['a', 'b']])
    accepted.push(...['c', 'late', 'd'].map((id) => batches.write({ id })))
    expect(await Promise.all(accepted)).toEqual([true, true, true, false, true])
    expect(written).toEqual([
      ['a', 'b'],
      ['c', 'late', 'd'],
    ])
    expect(await batches.write({ id: 'e' })).toBe(true)
    expect(written.at(-1)).toEqual(['e'])
  })

  it('bounds a batch by number and by size', async () => {
    const { batches, written } = batchesWith((ids) => new Set(ids))
    const large = 'x'.repeat(700_000)
    await Promise.all([
      batches.write({ id: 'first' }),
      ...Array.from({ length: 70 }, (_, index) => batches.write({ id: String(index) })),
      batches.write({ id: 'large', text: large }),
      batches.write({ id: 'larger', text: large }),
    ])
    expect(written.map(({ length }) => length)).toEqual([64, 8, 1])
  })

  it('tries each alone when one value spoils the batch, and tells only that one', async () => {
    const { batches, written } = batchesWith((ids) => {
      if (ids.includes('bad')) throw new Error('data')
      return new Set(ids)
    })
    const ended = await Promise.allSettled(['a', 'b', 'bad', 'c'].map((id) => batches.write({ id })))
    expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
    expect(written).toEqual([['a', 'b', 'bad', 'c'], ['a'], ['b'], ['bad'], ['c']])
  })

  it('tells all when the database is away, and goes on when it is back', async () => {
    let isAway = true
    const { batches } = batchesWith((ids) => {
      if (isAway) throw new Error('away')
      return new Set(ids)
    })
    const ended = await Promise.allSettled(['a', 'b', 'c'].map((id) => batches.write({ id })))
    expect(ended.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    isAway = false
    expect(await batches.write({ id: 'a' })).toBe(true)
  })
})
