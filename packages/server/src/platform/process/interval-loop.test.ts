import { expect, test } from 'vitest'
import { IntervalLoop } from './interval-loop.ts'

test('a turn that fails is told of, and the next one comes', async () => {
  const errors: unknown[] = []
  const { promise: second, resolve } = Promise.withResolvers<void>()
  let turns = 0
  const loop = new IntervalLoop({
    intervalMs: 1,
    async turn() {
      turns += 1
      if (turns === 1) throw new Error('once')
      resolve()
    },
    onError: (error) => errors.push(error),
  })
  loop.start()
  await second
  await loop.stop()
  expect(errors).toEqual([new Error('once')])
})

test('stop waits for the turn that runs, never for the interval', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  let ended = 0
  const loop = new IntervalLoop({
    intervalMs: 3_600_000,
    async turn() {
      await promise
      ended += 1
    },
    onError: () => {},
  })
  loop.start()
  loop.start()
  const stopped = loop.stop()
  expect(ended).toBe(0)
  resolve()
  await stopped
  expect(ended).toBe(1)
})
