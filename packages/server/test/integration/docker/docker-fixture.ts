import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createLogger } from '../../../src/platform/logger.ts'
import { createServices } from '../../../src/registry/create-services.ts'
import { DockerRunner } from '../../../src/runners/docker/docker-runner.ts'
import { Engine } from '../../../src/runners/docker/engine.ts'
import type { EngineConfig } from '../../../src/runners/docker/engine-config.ts'
import type { RunnerJob, RunnerOutcome } from '../../../src/runners/runner.ts'
import { RunnerRegistry } from '../../../src/runners/runner-registry.ts'
import type { TestEngine } from '../../../src/testing/docker-engine.ts'

export const INSTANCE = 'test-instance'

export interface Ran extends RunnerOutcome {
  stdout: string
  stderr: string
  output: Record<string, unknown> | null
  /** SUCCEEDED, CANCELLED or CATEGORY/CODE. */
  end: string
  message: string
}

export interface RunOptions {
  /** Lines of runner_config and of security_policy, as a registry has them. */
  config?: Record<string, unknown>
  policy?: Record<string, unknown>
  variables?: Record<string, string>
  /** Where the registry is said to be, and what else is in it. */
  registryFile?: string
  otherServices?: readonly Record<string, unknown>[]
  input?: unknown
  job?: Partial<RunnerJob>
  signal?: AbortSignal
  onOutput?: (text: string) => void
}

/** A runner on a test engine, given services by way of a registry, as a worker gets them. */
export class DockerBench {
  readonly engine: Engine
  readonly runner: DockerRunner
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'ergon-docker-'))

  constructor(
    { url }: Pick<TestEngine, 'url'>,
    { tls = null, forbiddenPaths = [], ...more }: Partial<EngineConfig> & { forbiddenPaths?: string[] } = {},
  ) {
    this.engine = new Engine({ url, tls, ...more })
    this.runner = new DockerRunner({
      engine: this.engine,
      instance: () => Promise.resolve(INSTANCE),
      forbiddenPaths,
      logger: createLogger('test', 'silent'),
    })
  }

  async run({
    config = {},
    policy = {},
    variables = {},
    registryFile = 'test.yaml',
    otherServices = [],
    input = {},
    job = {},
    ...context
  }: RunOptions = {}): Promise<Ran> {
    const service = {
      ...{ name: 'box', type: 'container', category: 'tests', execution_type: 'docker', operations: [{ name: 'run' }] },
      runner_config: { image: 'test/busybox:1', pull_policy: 'never', ...config },
      security_policy: { resource_limits: { memory_mb: 64, cpu_cores: 1 }, ...policy },
    }
    const runners = new RunnerRegistry()
    runners.register('docker', this.runner)
    const services = createServices(
      {
        ...{ file: registryFile, profile: 'development', scripts: {}, secretFiles: {}, variables },
        text: JSON.stringify({ services: [service, ...otherServices] }),
      },
      { executionTypes: ['docker'], checkConfig: (type, serviceConfig) => void runners.prepare(type, serviceConfig) },
    )
    const prepared = runners.prepare('docker', services.resolve('box', 'run').runnerConfig)
    const said = { stdout: '', stderr: '' }
    const id = randomUUID()
    const outcome = await prepared.runner.execute(
      {
        ...{ id, serviceName: 'box', operation: 'run', timeoutSeconds: 30, attempt: 1, maxAttempts: 1 },
        inputJson: JSON.stringify(input),
        ...job,
      },
      prepared.config,
      {
        ...{ tenantId: null, triggeredBy: null, correlationId: null, securityContextJson: null },
        signal: context.signal ?? new AbortController().signal,
        onOutput: (stream, bytes) => {
          said[stream] += bytes.toString('utf8')
          context.onOutput?.(bytes.toString('utf8'))
        },
        registerSecret: () => {},
        resolveDatasets: () => Promise.resolve(new Set<string>()),
        spoolFolder: path.join(this.#folder, id),
      },
    )
    const { verdict } = outcome
    const composed = outcome.composeOutput({ ...said, artifacts: [] })
    return {
      ...outcome,
      ...said,
      output: composed === null ? null : (JSON.parse(composed) as Record<string, unknown>),
      end:
        verdict.kind === 'failed' ? `${verdict.failure.category}/${verdict.failure.code}` : verdict.kind.toUpperCase(),
      message: verdict.kind === 'failed' ? verdict.failure.message : '',
    }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A command for busybox's shell. */
export function sh(script: string): { command: string[] } {
  return { command: ['/bin/sh', '-c', script] }
}
