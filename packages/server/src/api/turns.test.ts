import { expect, it } from 'vitest'
import { Turns } from './turns.ts'

it('lets so many work at a time, in the order in which they came, also behind one that failed', async () => {
  const turns = new Turns(2)
  const begun: number[] = []
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<number>())
  const results = gates.map(({ promise }, n) =>
    turns.take('a', () => {
      begun.push(n)
      return promise
    }),
  )
  const settled = Promise.allSettled(results)
  expect(begun).toEqual([0, 1])
  gates[1]?.reject(new Error('failed'))
  await results[1]?.catch(() => {})
  expect(begun).toEqual([0, 1, 2])
  for (const [n, { resolve }] of gates.entries()) resolve(n)
  expect((await settled).map(({ status }) => status)).toEqual([
    ...['fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled'],
  ])
  expect(begun).toEqual([0, 1, 2, 3, 4])
})

it('has askers work one after the other, each with what they asked for first', async () => {
  const turns = new Turns(1)
  const begun: string[] = []
  const ask = (what: string) => turns.take(what.slice(0, 1), async () => void begun.push(what))
  await Promise.all(['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1'].map(ask))
  expect(begun).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4'])
})

it('refuses an asker with whom too much waits, and no other', async () => {
  const turns = new Turns(1, { mostWaiting: 2 })
  const gate = Promise.withResolvers<void>()
  const first = ['a', 'a', 'a', 'b'].map((asker) => turns.take(asker, () => gate.promise))
  await expect(turns.take('a', () => gate.promise)).rejects.toMatchObject({ code: 'RATE_LIMITED' })
  const other = turns.take('b', () => gate.promise)
  gate.resolve()
  await Promise.all([...first, other])
  await turns.take('a', () => gate.promise)
})
