import { expect, it } from 'vitest'
import { parseLossless } from '../platform/text/lossless-json.ts'
import { toResultOutputs } from './result-outputs.ts'

const none = { stdout: null, stderr: null }

it.each([
  ['sandbox', { result_json: 1, stdout: 'a', stderr: '', artifacts: [] }, { result_json: 1, stdout: 'a', stderr: '' }],
  [
    'http',
    { status_code: 200, headers: {}, body: { stdout: 1 } },
    { result_json: { status_code: 200, headers: {}, body: { stdout: 1 } }, ...none },
  ],
  ['shell', { exit_code: 0, stdout: 'a', stderr: 'b' }, { result_json: { exit_code: 0 }, stdout: 'a', stderr: 'b' }],
  ['docker', { exit_code: 0, stdout: 'a' }, { result_json: { exit_code: 0 }, stdout: 'a', stderr: null }],
  ['serverless', { payload: [1], status_code: 200 }, { result_json: { payload: [1], status_code: 200 }, ...none }],
  ['an external worker of old', { charge: 'ch_1' }, { result_json: { charge: 'ch_1' }, ...none }],
  ['http', [1, 2], { result_json: [1, 2], ...none }],
  ['http', null, { result_json: null, ...none }],
  [
    'http by its row, run as a sandbox',
    { result_json: 1, stdout: '', stderr: '', artifacts: [] },
    { result_json: 1, stdout: '', stderr: '' },
  ],
])('%s: %j', (executionType, output, expected) => {
  expect(toResultOutputs(executionType, output)).toEqual(expected)
})

it('keeps a number that is all of the output as it was written', () => {
  expect(JSON.stringify(toResultOutputs('http', parseLossless('12345678901234567890')).result_json)).toBe(
    '12345678901234567890',
  )
})
