import { afterAll, expect } from 'vitest'
import { describeRunnerConformance } from '../../../src/testing/runner-conformance.ts'
import { startAws } from '../../function-servers/aws.ts'
import { startGoogle } from '../../function-servers/google.ts'
import { startConformanceStack } from '../conformance-stack.ts'

const [aws, google] = await Promise.all([startAws(), startGoogle()])
afterAll(async () => {
  await aws.stop()
  await google.stop()
})

function service(name: string, runnerConfig: string, schema = '{}'): string {
  return `  - name: ${name}
    type: function
    category: tests
    execution_type: serverless
    operations: [{name: run, timeout: 30, max_retries: 0, input_schema: ${schema}}]
    runner_config: ${runnerConfig}
    security_policy: {allowed_networks: ["127.0.0.1/32"], allowed_regions: [eu-central-1, us-central1]}
`
}

const lambda = (name: string, schema?: string) =>
  service(
    name,
    `{provider: aws, region: eu-central-1, function_name: ${name}, endpoint: "${aws.url}", auth: {type: access_key, access_key_id_env_var: KEY_ID, secret_access_key_env_var: KEY}}`,
    schema,
  )

const registry = `services:
${lambda('add', '{payload: {a: number, b: number}}')}${lambda('fail')}${lambda('slow')}${lambda('flood')}${service(
  'google',
  // An address with a secret in it, as chat services have.
  `{provider: gcp, project: my-project, function_name: run, endpoint: "${google.url}/open/\${PLANTED_SECRET}", auth: {type: none}}`,
)}`
const changed = (from: string, to: string) => registry.replace(from, to)
const job = (name: string, payload: unknown) => ({ service: name, operation: 'run', input: { payload } })

describeRunnerConformance(
  {
    executionType: 'serverless',
    registry,
    env: { KEY_ID: aws.accessKeyId, KEY: aws.secretAccessKey },
    success: {
      ...job('add', { a: 40, b: 2 }),
      result: { payload: 42, status_code: 200, executed_version: null },
    },
    usage: { cost_estimate_usd: expect.any(Number) },
    failure: { ...job('fail', {}), category: 'USER_CODE_ERROR', code: 'FUNCTION_ERROR' },
    slow: job('slow', {}),
    untilInTheMiddle: async () => {
      while (aws.activeRequests() === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    },
    flood: { ...job('flood', {}), category: 'RESOURCE_LIMIT', code: 'RESPONSE_SIZE' },
    malformedInput: { ...job('add', { a: 40, b: 'two' }), code: 'INPUT_INVALID' },
    malformedConfigs: [
      {
        registry: changed('provider: aws', 'provider: azure'),
        says: 'azure is not supported yet; providers: aws, gcp',
      },
      { registry: changed('region: eu-central-1, ', ''), says: "missing required field 'region'" },
      { registry: changed('["127.0.0.1/32"]', '[]'), says: 'allowed_networks: ["127.0.0.1/32"]' },
      {
        registry: changed('function_name: add', 'function_name: ../add'),
        says: 'is not what aws calls a function name',
      },
    ],
    // The function sees the secret in its address and answers it, in path and body.
    leak: { ...job('google', { do: 'echo' }), shows: /"path":"\/open\/\[redacted\]"/ },
    leftovers: () =>
      Promise.resolve(aws.activeRequests() + google.activeRequests() === 0 ? [] : ['a call that nobody waits for']),
  },
  startConformanceStack,
)
