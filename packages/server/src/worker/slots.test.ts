import { expect, it } from 'vitest'
import { Slots } from './slots.ts'

it('gives no lane more than its class or the whole has free', () => {
  const slots = new Slots(4, new Map([['sandbox', 2]]))
  expect(slots.free(['sandbox', 'http'])).toEqual([
    { lane: 'sandbox', slots: 2 },
    { lane: 'http', slots: 2 },
  ])
  slots.take('sandbox')
  slots.take('sandbox:gpu')
  expect(slots.free(['sandbox', 'http'])).toEqual([{ lane: 'http', slots: 2 }])
  slots.take('http')
  slots.take('http')
  expect(slots.free(['sandbox', 'http'])).toEqual([])
})

it('gives a lane that is named twice no more than once', () => {
  const slots = new Slots(8, new Map([['sandbox', 2]]))
  expect(slots.free(['sandbox', 'sandbox'])).toEqual([{ lane: 'sandbox', slots: 2 }])
})

it('lets no lane without jobs hold what another could use', () => {
  const slots = new Slots(32, new Map([['sandbox', 2]]))
  expect(slots.free(['http', 'shell', 'sandbox'])).toEqual([
    { lane: 'http', slots: 30 },
    { lane: 'shell', slots: 1 },
    { lane: 'sandbox', slots: 1 },
  ])
})

it('counts shell and sandboxed jobs together, and gives the last place to each in turn', () => {
  const slots = new Slots(32, new Map([['sandbox', 2]]))
  slots.take('shell')
  const turns = [slots.free(['shell', 'sandbox']), slots.free(['shell', 'sandbox'])]
  expect(turns.map((lanes) => lanes.map(({ slots: count }) => count))).toEqual([
    [1, 0],
    [0, 1],
  ])
  slots.take('sandbox')
  expect(slots.free(['shell', 'sandbox'])).toEqual([])
})

it('wakes whoever waits when a place becomes free', async () => {
  const slots = new Slots(1, new Map())
  slots.take('http')
  const freed = slots.released()
  slots.release('http')
  await freed
  expect(slots.free(['http'])).toEqual([{ lane: 'http', slots: 1 }])
})

it('gives a lane that just had no jobs what the others leave, and asks it as before a moment later', () => {
  const slots = new Slots(32, new Map([['sandbox', 3]]))
  slots.cameEmpty('shell', 0)
  expect(slots.free(['shell', 'sandbox'], 50)).toEqual([
    { lane: 'shell', slots: 0 },
    { lane: 'sandbox', slots: 3 },
  ])
  slots.cameEmpty('sandbox', 40)
  const bothEmpty = slots.free(['shell', 'sandbox'], 60).map(({ slots: count }) => count)
  expect(Math.min(...bothEmpty)).toBe(1)
  expect(slots.free(['shell', 'sandbox'], 120)).toEqual([
    { lane: 'shell', slots: 3 },
    { lane: 'sandbox', slots: 0 },
  ])
})

it('gives a lane that was rung for its places, whatever it had a moment ago', () => {
  const slots = new Slots(4, new Map([['sandbox', 2]]))
  for (const lane of ['http', 'docker', 'sandbox', 'aws']) slots.cameEmpty(lane, 0)
  slots.wasRung('sandbox')
  expect(slots.free(['http', 'docker', 'sandbox', 'aws'], 10)).toContainEqual({ lane: 'sandbox', slots: 2 })
})

it('counts a job that has left the place of its class in the total until it is over', () => {
  const slots = new Slots(2, new Map([['sandbox', 1]]))
  slots.take('sandbox')
  slots.vacate('sandbox')
  expect(slots.free(['sandbox'])).toEqual([{ lane: 'sandbox', slots: 1 }])
  slots.take('sandbox')
  slots.vacate('sandbox')
  expect(slots.free(['sandbox'])).toEqual([])
  slots.release('sandbox', true)
  expect(slots.free(['sandbox'])).toEqual([{ lane: 'sandbox', slots: 1 }])
})
