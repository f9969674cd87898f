import { expect } from 'vitest'
import { describeRunnerConformance } from '../../../src/testing/runner-conformance.ts'
import { startConformanceStack } from '../conformance-stack.ts'

/** A service that allows one program which does as it is told, and the shell, which is told by scripts. */
const registry = (change: { from: string; to: string } = { from: '', to: '' }) =>
  `services:
  - name: subject
    type: script
    category: tests
    execution_type: shell
    operations:
      - {name: run, timeout: 30, max_retries: 0, input_schema: {shell: boolean, script: string}}
    runner_config: {environment: {TOKEN: "\${PLANTED_SECRET}"}}
    security_policy:
      allowed_commands: [/bin/bash]
      file_access: read_write
      formats: [txt]
      resource_limits: {memory_mb: 128, cpu_seconds: 20, max_output_kb: 64}
`.replace(change.from, change.to)

const job = (script: unknown) => ({ service: 'subject', operation: 'run', input: { shell: true, script } })

describeRunnerConformance(
  {
    executionType: 'shell',
    registry: registry(),
    env: {},
    success: { ...job('echo fine'), result: { exit_code: 0 } },
    usage: { cpu_ms: expect.any(Number), peak_memory_mb: expect.any(Number) },
    failure: { ...job('exit 3'), category: 'USER_CODE_ERROR', code: 'NON_ZERO_EXIT' },
    slow: job('(sleep 60) & sleep 60'),
    flood: {
      ...job('while true; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done'),
      category: 'RESOURCE_LIMIT',
      code: 'OUTPUT',
    },
    malformedInput: { ...job(1), code: 'INPUT_INVALID' },
    malformedConfigs: [
      { registry: registry({ from: '[/bin/bash]', to: '[bash]' }), says: 'must be an absolute path' },
      { registry: registry({ from: 'read_write', to: 'read' }), says: 'has no effect with file_access read' },
      { registry: registry({ from: 'file_access', to: 'max_concurrent' }), says: 'max_concurrent' },
    ],
    // Its variable, plain and encoded, in both streams and in a file.
    leak: {
      ...job('echo "token $TOKEN"; env >&2; printf %s "$TOKEN" | base64 -w0; echo "$TOKEN" >/workspace/output/a.txt'),
      shows: /token \[redacted\]/,
    },
    leftovers: () => Promise.resolve([]),
  },
  startConformanceStack,
)
