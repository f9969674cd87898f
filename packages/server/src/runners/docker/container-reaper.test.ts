import { expect, it } from 'vitest'
import { findLost } from './container-reaper.ts'

it('a container is lost when nobody holds its attempt, also when a later one is held', () => {
  const [held, earlier, gone] = [
    { id: 'a', jobId: '1', attempt: 2 },
    { id: 'b', jobId: '1', attempt: 1 },
    { id: 'c', jobId: '2', attempt: 1 },
  ]
  expect(findLost([held, earlier, gone], [{ jobId: '1', attempt: 2 }])).toEqual([earlier, gone])
})
