import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { jobResultSchema } from '@ergon/contract'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TestEngine } from '../../../src/testing/docker-engine.ts'
import { describeRunnerConformance } from '../../../src/testing/runner-conformance.ts'
import { startConformanceStack } from '../conformance-stack.ts'
import { ErgonHome } from '../ergon.ts'

/** One service that does what its input says; its secret is in its environment, where a service may put it. */
const registry = (change: { from: string; to: string } = { from: '', to: '' }) =>
  `services:
  - name: subject
    type: container
    category: tests
    execution_type: docker
    operations:
      - name: run
        timeout: 60
        max_retries: 0
        input_schema: {do: string}
    runner_config:
      image: test/busybox:1
      pull_policy: never
      environment: {PLANTED: "\${PLANTED_SECRET}"}
      command:
        - /bin/sh
        - -c
        - |
          case $(sed 's/.*: *"//; s/".*//' $ERGON_INPUT) in
            succeed) exit 0;;
            fail) exit 3;;
            sleep) sleep 60;;
            flood) yes;;
            leak) echo "told $PLANTED"; echo -n $PLANTED | base64; env >&2; echo -n "$PLANTED" >$ERGON_OUTPUT_DIR/a.txt;;
          esac
    security_policy: {resource_limits: {memory_mb: 64, cpu_cores: 1, max_output_kb: 64}, formats: [txt]}
`.replace(change.from, () => change.to)

const job = (action: unknown) => ({ service: 'subject', operation: 'run', input: { do: action } })

let engine: TestEngine
const env: Record<string, string> = {}
beforeAll(async () => {
  engine = await TestEngine.start()
  env['ERGON_DOCKER_HOST'] = engine.url
  await engine.importBusybox('test/busybox:1')
})
afterAll(() => engine?.stop())

describeRunnerConformance(
  {
    executionType: 'docker',
    registry: registry(),
    env,
    success: { ...job('succeed'), result: { exit_code: 0, artifacts: [] } },
    usage: { cpu_ms: expect.any(Number), peak_memory_mb: expect.any(Number) },
    failure: { ...job('fail'), category: 'USER_CODE_ERROR', code: 'NON_ZERO_EXIT' },
    slow: job('sleep'),
    async untilInTheMiddle() {
      await expect.poll(async () => (await engine.api.listContainers()).length, { timeout: 20_000 }).toBe(2)
    },
    flood: { ...job('flood'), category: 'RESOURCE_LIMIT', code: 'OUTPUT' },
    malformedInput: { ...job(1), code: 'INPUT_INVALID' },
    malformedConfigs: [
      {
        registry: registry({ from: 'test/busybox:1', to: 'test/busybox:1 --privileged' }),
        says: 'is not the name of an image',
      },
      { registry: registry({ from: 'pull_policy: never', to: 'network_mode: host' }), says: 'host is refused' },
      { registry: registry({ from: 'memory_mb: 64', to: 'memory_mb: lots' }), says: 'resource_limits.memory_mb' },
    ],
    leak: { ...job('leak'), shows: /told / },
    leftovers: () => engine.leftovers(),
  },
  startConformanceStack,
)

it('the container of the example is called as its comment says', async () => {
  const examples = path.join(import.meta.dirname, '../../../../../examples/registry')
  execFileSync(path.join(examples, 'import-image'), { env: { ...process.env, ...env }, stdio: 'pipe' })
  const home = new ErgonHome(env)
  try {
    const { code, stdout, stderr } = await home.run(
      ...['call', 'word-table.count', '--input', '{"text": "to be or not to be"}'],
      ...['--registry', path.join(examples, 'registry.yaml'), '--json'],
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { outputs, artifacts } = jobResultSchema.parse(JSON.parse(stdout))
    const table = '      2 be\n      1 not\n      1 or\n      2 to\n'
    expect(outputs).toMatchObject({ result_json: { exit_code: 0 }, stdout: table, stderr: '' })
    expect(artifacts.map(({ metadata, size_bytes: size }) => [metadata.name, size])).toEqual([
      ['words.txt', table.length],
    ])
  } finally {
    await home.remove()
  }
})

it('the engine has nothing left', async () => {
  expect(await engine.leftovers()).toEqual([])
})
