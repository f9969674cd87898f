import { createServices, type ServiceConfig } from '../../src/registry/create-services.ts'
import type { ExecutionContext, RunnerJob, RunnerOutcome } from '../../src/runners/runner.ts'
import { ServerlessRunner } from '../../src/runners/serverless/serverless-runner.ts'

interface Service {
  runnerConfig: string
  policy?: string
  variables?: Record<string, string>
  secretFiles?: Record<string, string>
}

/** The configuration of a service as a worker makes it, references expanded. */
function serviceConfig({ runnerConfig, policy, variables = {}, secretFiles = {} }: Service): ServiceConfig {
  const text = `services:
  - name: f
    type: function
    category: tests
    execution_type: serverless
    operations: [{name: run}]
    runner_config: ${runnerConfig}
    security_policy: ${policy ?? '{allowed_networks: ["127.0.0.1/32"]}'}
`
  const bundle = { file: 'r.yaml', text, profile: 'development', variables, secretFiles, scripts: {} } as const
  const services = createServices(bundle, { executionTypes: ['serverless'], checkConfig: () => {} })
  return services.resolve('f', 'run').runnerConfig as ServiceConfig
}

export interface Called {
  outcome: RunnerOutcome
  /** output_data as the row would have it. */
  output: unknown
  secrets: string[]
}

interface Call {
  input: unknown
  timeoutSeconds?: number
  signal?: AbortSignal
}

/** One runner with one service, called again and again. */
export function callerOf(service: Service): (call: Call) => Promise<Called> {
  const runner = new ServerlessRunner()
  const config = runner.validateConfig(serviceConfig(service))
  return async ({ input, timeoutSeconds = 20, signal = new AbortController().signal }) => {
    const secrets: string[] = []
    const job: RunnerJob = {
      id: 'a5a5a5a5-0000-4000-8000-000000000001',
      serviceName: 'f',
      operation: 'run',
      inputJson: typeof input === 'string' ? input : JSON.stringify(input),
      timeoutSeconds,
      attempt: 1,
      maxAttempts: 1,
    }
    const context: ExecutionContext = {
      tenantId: null,
      triggeredBy: null,
      correlationId: null,
      securityContextJson: null,
      signal,
      onOutput: () => {},
      registerSecret: (value) => secrets.push(value),
      resolveDatasets: () => Promise.resolve(new Set()),
      spoolFolder: '/nonexistent',
    }
    const outcome = await runner.execute(job, config, context)
    const json = outcome.composeOutput({ stdout: '', stderr: '', artifacts: [] })
    return { outcome, output: json === null ? null : JSON.parse(json), secrets }
  }
}

/** The failure of a call, for a comparison. */
export function failureOf({ outcome: { verdict } }: Called): string {
  return verdict.kind === 'failed' ? `${verdict.failure.category}/${verdict.failure.code}` : verdict.kind
}

export function messageOf({ outcome: { verdict } }: Called): string {
  return verdict.kind === 'failed' ? verdict.failure.message : ''
}
