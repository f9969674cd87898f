import { expect, it } from 'vitest'
import { Latch } from './latch.ts'

it('a latch that was opened before lets one wait pass, and one only', async () => {
  const latch = new Latch()
  latch.open()
  latch.open()
  await latch.pass()
  let hasPassed = false
  const waiting = latch.pass().then(() => (hasPassed = true))
  await Promise.resolve()
  expect(hasPassed).toBe(false)
  latch.open()
  await waiting
})
