import { afterAll, expect } from 'vitest'
import { HttpTarget } from '../../../src/testing/http-target.ts'
import { describeRunnerConformance } from '../../../src/testing/runner-conformance.ts'
import { startConformanceStack } from '../conformance-stack.ts'

const target = new HttpTarget()
await target.start()
afterAll(() => target.stop())

/** A registry of one service: the real server that this file has started. */
const registry = (change: { from: string; to: string } = { from: '', to: '' }) =>
  `services:
  - name: subject
    type: api
    category: tests
    operations:
      - {name: call, timeout: 60, max_retries: 0, input_schema: {path: string, body: any?, headers: any?}}
    runner_config:
      base_url: ${target.origin}
      auth_type: basic
      auth_config: {username_env_var: USER_NAME, password_env_var: PLANTED_SECRET}
      headers: {X-Planted: "\${PLANTED_SECRET}"}
    security_policy: {allowed_networks: [127.0.0.0/8], max_response_size: 1000000}
`.replace(change.from, change.to)

const job = (path: unknown) => ({ service: 'subject', operation: 'call', input: { path } })

describeRunnerConformance(
  {
    executionType: 'http',
    registry: registry(),
    env: { USER_NAME: 'planter' },
    success: { ...job('json'), result: { status_code: 200, body: { answer: 42 } } },
    usage: { requests: 1, received_bytes: expect.any(Number) },
    failure: { ...job('status/404'), category: 'USER_CODE_ERROR', code: 'HTTP_STATUS' },
    slow: job('slow'),
    async untilInTheMiddle() {
      while (!target.seen.some(({ url }) => url === '/slow')) await new Promise((resolve) => setTimeout(resolve, 10))
    },
    flood: { ...job('flood'), category: 'RESOURCE_LIMIT', code: 'RESPONSE_SIZE' },
    malformedInput: { ...job('../x'), code: 'INPUT_INVALID' },
    malformedConfigs: [
      { registry: registry({ from: '[127.0.0.0/8]', to: '[]' }), says: 'allowed_networks: ["127.0.0.1/32"]' },
      { registry: registry({ from: 'auth_type: basic', to: 'auth_type: bearer' }), says: 'auth_type bearer needs' },
    ],
    // The server gives back every header it was sent.
    leak: {
      ...job('echo'),
      shows:
        /"x-planted":\s?"\[redacted\]".*"authorization":\s?"Basic \[redacted\]|"authorization":\s?"Basic \[redacted\].*"x-planted":\s?"\[redacted\]"/,
    },
    async leftovers() {
      const busy = target.connections.open
      return busy > 8 ? [`${busy} connections`] : []
    },
  },
  startConformanceStack,
)
