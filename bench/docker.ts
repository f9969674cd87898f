import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createLogger } from '../packages/server/src/platform/logger.ts'
import { createServices } from '../packages/server/src/registry/create-services.ts'
import { jobContainer } from '../packages/server/src/runners/docker/container-spec.ts'
import { readDockerConfig } from '../packages/server/src/runners/docker/docker-config.ts'
import { DockerRunner } from '../packages/server/src/runners/docker/docker-runner.ts'
import { Engine } from '../packages/server/src/runners/docker/engine.ts'
import { TestEngine } from '../packages/server/src/testing/docker-engine.ts'
import { type Benchmark, figureOf, measureInterleaved, median } from './bench.ts'
import { callEngine } from './docker/engine-calls.ts'

const IMAGE = 'bench/busybox:1'
const OWNER = { instance: 'bench', jobId: 'bench', attempt: 1, serviceName: 'bench' }

/** What a docker job costs beside the engine's own work. */
const docker: Benchmark = {
  description: 'a container of one command, beside the same calls through the API of the same engine',
  async run({ isQuick, jobs, progress }) {
    progress('an engine of its own')
    const engine = await TestEngine.start()
    const spool = mkdtempSync(path.join(tmpdir(), 'ergon-bench-'))
    try {
      const imageId = await engine.importBusybox(IMAGE)
      const runner = new DockerRunner({
        engine: new Engine({ url: engine.url, tls: null }),
        instance: () => Promise.resolve(OWNER.instance),
        forbiddenPaths: [],
        logger: createLogger('bench', 'silent'),
      })
      const config = readConfig('')
      const withFiles = readConfig(', formats: [txt]')
      const run = async (chosen: typeof config, repetition: number) => {
        const { verdict } = await runner.execute(
          {
            ...{ id: `bench-${repetition}`, serviceName: 'bench', operation: 'run', inputJson: '{}' },
            ...{ timeoutSeconds: 60, attempt: 1, maxAttempts: 1 },
          },
          chosen,
          {
            ...{ tenantId: null, triggeredBy: null, correlationId: null, securityContextJson: null },
            ...{ signal: new AbortController().signal, onOutput: () => {}, registerSecret: () => {} },
            resolveDatasets: () => Promise.resolve(new Set<string>()),
            spoolFolder: path.join(spool, String(repetition)),
          },
        )
        if (verdict.kind !== 'succeeded') throw new Error(`a job of the benchmark ended as ${JSON.stringify(verdict)}`)
      }
      const container = { owner: OWNER, imageId, imageVolumes: [], volumes: [], outputHolderId: null }
      progress('containers, ours and the engine alone in turn')
      const samples = await measureInterleaved(
        {
          ours: (repetition) => run(config, repetition),
          calls: () => callEngine(engine.api, IMAGE, jobContainer(config, container)),
          files: (repetition) => run(withFiles, repetition),
        },
        { warmUps: 2, repetitions: jobs ?? (isQuick ? 5 : 30) },
      )
      const reference = { name: 'the same calls', value: median(samples.calls) }
      return [
        figureOf('docker_overhead_ratio', samples.ours, 'ms', { reference, target: { comparison: '<=', bound: 1.15 } }),
        figureOf('docker_files_ms', samples.files, 'ms', {
          reference: { name: 'without files', value: median(samples.ours) },
        }),
      ]
    } finally {
      rmSync(spool, { recursive: true, force: true })
      await engine.stop()
    }
  },
}
export default docker

function readConfig(policy: string) {
  const text = `services:
  - name: bench
    type: container
    category: bench
    execution_type: docker
    operations: [{name: run}]
    runner_config: {image: "${IMAGE}", pull_policy: never, command: [/bin/true]}
    security_policy: {resource_limits: {memory_mb: 64, cpu_cores: 1}${policy}}
`
  const bundle = { file: 'bench.yaml', text, profile: 'production' as const }
  const options = { executionTypes: ['docker'], checkConfig: () => {} }
  const services = createServices({ ...bundle, variables: {}, secretFiles: {}, scripts: {} }, options)
  return readDockerConfig(services.resolve('bench', 'run').runnerConfig)
}
