import { expect, it } from 'vitest'
import { type ExampleStep, requireThat, runSteps } from './example-step.ts'

const note = { detail: 'seen', look: ['ergon jobs list'] }
const held = (name: string): ExampleStep => ({ name, run: () => Promise.resolve(note) })

it('tells what held, what cannot be tried here, what failed and what was not tried for that', async () => {
  const told: string[] = []
  const reports = await runSteps(
    [
      held('one'),
      { ...held('two'), leftOut: 'ERGON_DOCKER_HOST names no engine' },
      held('three'),
      {
        name: 'four',
        run: () => {
          requireThat(told.length === 0, 'two charges, expected one')
          return Promise.resolve(note)
        },
      },
      held('five'),
    ],
    ({ step, outcome }) => told.push(`${step} ${outcome}`),
    new AbortController().signal,
  )
  expect(reports).toEqual([
    { step: 'one', outcome: 'held', ...note },
    { step: 'two', outcome: 'left_out', detail: 'ERGON_DOCKER_HOST names no engine', look: [] },
    { step: 'three', outcome: 'held', ...note },
    { step: 'four', outcome: 'failed', detail: 'two charges, expected one', look: expect.any(Array) },
    { step: 'five', outcome: 'left_out', detail: '"four" failed', look: [] },
  ])
  expect(told).toEqual(['one held', 'two left_out', 'three held', 'four failed', 'five left_out'])
})

it('tells nothing of a step that was interrupted', async () => {
  const told: string[] = []
  const controller = new AbortController()
  const interrupted: ExampleStep = {
    name: 'two',
    run() {
      controller.abort(new Error('interrupted'))
      return Promise.reject(new Error('the database is gone'))
    },
  }
  const run = runSteps([held('one'), interrupted, held('three')], ({ step }) => told.push(step), controller.signal)
  await expect(run).rejects.toThrow('interrupted')
  expect(told).toEqual(['one'])
})
