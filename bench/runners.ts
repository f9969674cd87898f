import { createServices } from '../packages/server/src/registry/create-services.ts'
import { RunnerRegistry } from '../packages/server/src/runners/runner-registry.ts'
import type { Runner } from '../packages/server/src/runners/runner.ts'
import { readSandboxConfig } from '../packages/server/src/runners/sandboxed/sandbox-config.ts'
import { type Benchmark, figureOf, measure } from './bench.ts'
import { measureHttp } from './runners/http.ts'

const SERVICES = 200
const LOOPS = 2_000
/** What a charge or an analysis has: a dozen values with types, bounds and patterns. */
const INPUT_SCHEMA = `
          type: object
          required: [parameters]
          additionalProperties: false
          properties:
            parameters:
              type: object
              required: [amount, currency, customer, items]
              additionalProperties: false
              properties:
                amount: {type: number, minimum: 0}
                currency: {type: string, pattern: "^[A-Z]{3}$"}
                customer: {type: string, format: uuid}
                items:
                  type: array
                  maxItems: 100
                  items: {type: object, required: [sku, count], properties: {sku: {type: string, maxLength: 40}, count: {type: integer}}}`
const INPUT = JSON.stringify({
  parameters: {
    amount: 12.5,
    currency: 'EUR',
    customer: '6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10',
    items: [1, 2, 3, 4].map((count) => ({ sku: `sku-${count}`, count })),
  },
})

/** What a job costs before its runner starts: the service found, its runner chosen, its input checked. */
const runners: Benchmark = {
  description: 'selection of a runner, validation of a job, and jobs of an http service beside bare requests',
  async run(context) {
    const { isQuick, progress } = context
    progress(`a registry of ${SERVICES} services`)
    const services = createServices(bundle(), { executionTypes: ['sandbox'], checkConfig: () => {} })
    const registry = new RunnerRegistry()
    registry.register('sandbox', sandboxRunner)
    const names = Array.from({ length: SERVICES }, (_, i) => `Service_${i}`)
    const select = (i: number) => {
      const service = services.resolve(names[i % SERVICES] ?? '', 'RUN')
      return { service, prepared: registry.prepare(service.executionType, service.runnerConfig) }
    }
    const validate = (i: number) => select(i).service.rules?.input.check(INPUT)
    for (let i = 0; i < SERVICES; i++)
      if (validate(i) !== null) throw new Error('the input of the benchmark is not valid')

    const options = { warmUps: 3, repetitions: isQuick ? 10 : 50 }
    const perCall = async (work: (i: number) => unknown) => {
      const samplesMs = await measure(() => void Array.from({ length: LOOPS }, (_, i) => work(i)), options)
      return samplesMs.map((ms) => ms / LOOPS)
    }
    const selectMs = await perCall(select)
    const validateMs = await perCall(validate)
    return [
      figureOf(
        'select_us',
        selectMs.map((ms) => ms * 1_000),
        'µs',
        { target: { comparison: '<=', bound: 10 } },
      ),
      figureOf('validate_ms', validateMs, 'ms', { target: { comparison: '<=', bound: 0.2 } }),
      ...(await measureHttp(context)),
    ]
  },
}
export default runners

/** The sandbox's own reading of a service's configuration; nothing is run. */
const sandboxRunner: Runner = {
  displayName: 'Sandbox',
  validateConfig: readSandboxConfig,
  execute: () => Promise.reject(new Error('this benchmark runs no job')),
  cancel: () => false,
  getResourceRequirements: (_config: unknown) => ({ cpuCores: 1, memoryMb: 512, diskMb: 256 }),
}

function bundle() {
  const services = Array.from(
    { length: SERVICES },
    (_, i) => `
  - name: service_${i}
    type: computation
    category: bench
    execution_type: sandbox
    operations:
      - name: run
        input_schema:${INPUT_SCHEMA}
    runner_config: {environment: python-sci, code: pass}`,
  )
  const text = `services:${services.join('')}\n`
  return { file: 'bench.yaml', text, profile: 'production' as const, variables: {}, secretFiles: {}, scripts: {} }
}
