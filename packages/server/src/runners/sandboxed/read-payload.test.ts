import { expect, it } from 'vitest'
import { EXECUTOR_POLICY } from '../../domain/sandbox-policy.ts'
import { readPayload } from './read-payload.ts'

function payloadWith(parameters: string): string {
  return `{"schema_version":"1.0","job_id":"6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10","job_type":"object_execute",
    "environment":{"language":"python","env_version":"python-sci"},
    "inputs":{"object":{"type":"code","content":{"format":"text","value":"pass"},
    "runtime":{"language":"python","parameters":{"a":${parameters}}}}}}`
}

it('reads parameters with every number as it was written', () => {
  const reading = readPayload(payloadWith('[1.0,12345678901234567890]'), 'object_execute', EXECUTOR_POLICY)
  expect(reading).toMatchObject({ ok: true, read: { parametersJson: '{"a":[1.0,12345678901234567890]}' } })
})

it.each([1_000, 6_000, 100_000])('refuses a payload nested %i deep as the fault of its submitter', (depth) => {
  const reading = readPayload(payloadWith('['.repeat(depth) + ']'.repeat(depth)), 'object_execute', EXECUTOR_POLICY)
  expect(reading).toMatchObject({ ok: false, failure: { category: 'VALIDATION_ERROR', code: 'PAYLOAD_INVALID' } })
})
