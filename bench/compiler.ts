import { compileEntities } from '../packages/server/src/compiler/compile.ts'
import { describeService } from '../packages/server/src/compiler/read-services.ts'
import { parseRegistry } from '../packages/server/src/registry/parse-registry.ts'
import { readLocatedYaml } from '../packages/server/src/platform/yaml/located-yaml.ts'
import { type Benchmark, figureOf, measureInterleaved, median } from './bench.ts'

const ENTITIES = 1_000
const SERVICES = 20

/** A thousand entities with five steps each, of every kind, compiled from their texts. */
const compiler: Benchmark = {
  description: 'compiling a thousand entity files of five steps each, beside reading their YAML alone',
  async run({ isQuick, progress }) {
    progress(`${ENTITIES} entities, ${SERVICES} services`)
    const { profiles } = parseRegistry(registry(), 'bench.yaml')
    const services = new Map([...profiles.production].map(([name, checked]) => [name, describeService(checked, null)]))
    const sources = Array.from({ length: ENTITIES }, (_, i) => ({ file: `entity_${i}.yaml`, text: entity(i) }))
    let bytes = 0
    const samples = await measureInterleaved(
      {
        yaml: () => {
          for (const { text } of sources) readLocatedYaml(text)
        },
        compile: () => {
          const files = compileEntities(sources, { services, version: '0', isSnippet: false })
          bytes = files.reduce((sum, { sql }) => sum + sql.length, 0)
        },
      },
      { warmUps: 1, repetitions: isQuick ? 3 : 10 },
    )
    progress(`${Math.round(bytes / 1024)} KiB of SQL`)
    const seconds = (values: readonly number[]) => values.map((ms) => ms / 1_000)
    return [
      figureOf('compile_1000_s', seconds(samples.compile), 's', { target: { comparison: '<=', bound: 2 } }),
      figureOf('compile_beside_yaml', samples.compile, 'ms', {
        reference: { name: 'reading the YAML', value: median(samples.yaml) },
      }),
    ]
  },
}
export default compiler

function registry(): string {
  const services = Array.from(
    { length: SERVICES },
    (_, i) => `
  - name: service_${i}
    type: bench
    category: bench
    operations:
      - name: run
        input_schema: {amount: number, customer: string, note: string?, lines: array}
        output_schema: {reference: string, fee: number}
    runner_config: {base_url: "https://api${i}.example.com/v1"}`,
  )
  return `services:${services.join('')}\n`
}

function entity(i: number): string {
  return `entity: Order${i}
schema: bench
fields: {customer_id: uuid, total: numeric, status: text, note: text, reference: text}
actions:
  - name: place_${i}
    params: {customer_id: uuid, total: numeric, note: text}
    steps:
      - validate: $total > 0 and length($note) < 1000
        error: an order needs a total
      - insert: Order${i}
        as: order${i}
      - update: Order${i} SET status = 'placed' WHERE id = $order${i}.id
      - call_service:
          service: service_${i % SERVICES}
          operation: run
          input: {amount: $order${i}.total, customer: $order${i}.customer_id, note: $note, lines: [{sku: "sku-${i}", count: 2}]}
          key: [$order${i}.note]
          on_success: [{update: "Order${i} SET reference = $result.reference WHERE id = $order${i}.id"}]
          on_failure: [{update: "Order${i} SET status = 'failed' WHERE id = $order${i}.id"}]
      - return: $order${i}.id
`
}
