import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { verdictOf } from '../../src/conformance/hostile-case.ts'
import { leftoversAfter } from './leftovers.ts'

const MIB = 1 << 20

/** One limit: a program that takes all it may, and one that takes the least more that the kernel can tell apart. */
interface LimitCase {
  limits: Record<string, number>
  within: string
  beyond: string
  verdict: string
  /** Null where no kernel counts the refusals. */
  counter: string | null
  limit?: number
  /** What is seen at least; null where the kernel ends the program without telling how much it wanted. */
  observed?: number | null
}

const writes = (file: string, bytes: string) =>
  `with open(${JSON.stringify(file)}, "wb") as file: file.write(bytes(${bytes}))\n`
const prints = (stream: string, bytes: number) => `import sys\nsys.${stream}.write("x" * ${bytes})\n`
const forks = (children: number) =>
  `import os, time\nfor _ in range(${children}):\n  if os.fork() == 0: time.sleep(60); os._exit(0)\n`
const spins = (seconds: number) =>
  `import os, time\nchild = os.fork()\nwhile time.process_time() < ${seconds}: pass\nif child == 0: os._exit(0)\nos.wait()\n`
const touches = (mib: number) => `a = bytearray(b"x") * (${mib} << 20)\n`
const makes = (files: number) => `for n in range(${files}): open(f"/workspace/{n}", "w").close()\n`
/** Takes every descriptor up to `last`; lets go before it fails, or nothing would be left to report that with. */
const opens = (last: number) => `
import os
try:
  while os.open("/dev/null", os.O_RDONLY) < ${last}: pass
except OSError:
  os.closerange(5, ${last})
  raise
`
const leaves = (...sizes: number[]) =>
  sizes.map((size, index) => `open("/workspace/output/${index}.txt", "w").write("x" * ${size})\n`).join('')
const results = (bytes: number) => `open("/workspace/result.json", "w").write('"' + "x" * ${bytes - 2} + '"')\n`

const CASES: readonly LimitCase[] = [
  {
    limits: { timeout_ms: 1_500 },
    within: 'import time\ntime.sleep(0.5)\n',
    beyond: 'import time\ntime.sleep(60)\n',
    ...{ verdict: 'RESOURCE_LIMIT/WALL_TIME', counter: 'wall_ms', limit: 1_500, observed: 1_500 },
  },
  {
    limits: { cpu_ms: 2_000 },
    within: spins(0.3),
    // Each of the two alone would be within it.
    beyond: spins(1.5),
    ...{ verdict: 'RESOURCE_LIMIT/CPU_TIME', counter: 'cpu_ms', limit: 2_000, observed: 2_000 },
  },
  {
    limits: { memory_mb: 64 },
    within: touches(32),
    beyond: touches(64),
    // The peak includes the page that was refused or not, as the kernel pleases.
    ...{ verdict: 'RESOURCE_LIMIT/MEMORY', counter: 'memory_bytes', limit: 64 * MIB, observed: 63 * MIB },
  },
  {
    limits: { max_pids: 4 },
    within: forks(3),
    beyond: forks(4),
    ...{ verdict: 'RESOURCE_LIMIT/PIDS', counter: 'pids', limit: 4, observed: 1 },
  },
  {
    limits: { max_file_mb: 1 },
    within: writes('/workspace/a', '1 << 20'),
    beyond: writes('/workspace/a', '(1 << 20) + 1'),
    ...{ verdict: 'RESOURCE_LIMIT/FILE_SIZE', counter: 'file_size_bytes', limit: MIB, observed: null },
  },
  ...['/workspace', '/tmp', '/dev/shm'].map((folder) => ({
    limits: { disk_mb: 1 },
    // One page of /tmp holds the settings of matplotlib.
    within: writes(`${folder}/a`, folder === '/tmp' ? '(1 << 20) - 4096' : '1 << 20'),
    beyond: writes(`${folder}/a`, '(1 << 20) + 1'),
    ...{ verdict: 'RESOURCE_LIMIT/DISK', counter: 'disk_bytes', limit: MIB, observed: MIB },
  })),
  {
    limits: { max_files: 20 },
    within: makes(20),
    beyond: makes(21),
    ...{ verdict: 'RESOURCE_LIMIT/FILES', counter: 'disk_files', limit: 20, observed: 20 },
  },
  {
    limits: { max_open_files: 32 },
    within: opens(31),
    beyond: opens(32),
    // No kernel counts descriptors that it refused: the program's own exception is all there is.
    ...{ verdict: 'USER_CODE_ERROR/PYTHON_EXCEPTION', counter: null },
  },
  ...(['stdout', 'stderr'] as const).map((stream) => ({
    limits: { max_output_kb: 4 },
    within: prints(stream, 4_096),
    beyond: prints(stream, 4_097),
    ...{ verdict: 'RESOURCE_LIMIT/OUTPUT', counter: `${stream}_bytes`, limit: 4_096, observed: 4_097 },
  })),
  {
    limits: { max_artifacts: 3 },
    within: leaves(1, 1, 1),
    beyond: leaves(1, 1, 1, 1),
    ...{ verdict: 'RESOURCE_LIMIT/ARTIFACT_COUNT', counter: 'artifact_count', limit: 3, observed: 4 },
  },
  {
    limits: { max_artifact_mb: 1 },
    within: leaves(MIB / 2, MIB / 2),
    beyond: leaves(MIB / 2, MIB / 2 + 1),
    ...{ verdict: 'RESOURCE_LIMIT/ARTIFACT_BYTES', counter: 'artifact_bytes', limit: MIB, observed: MIB + 1 },
  },
  {
    limits: { max_result_kb: 1 },
    within: results(1_024),
    beyond: results(1_025),
    ...{ verdict: 'RESOURCE_LIMIT/RESULT_SIZE', counter: 'result_bytes', limit: 1_024, observed: 1_025 },
  },
]

const ANY_FORMAT = { output_spec: { formats: ['txt', 'csv', 'json'] } }

describe.each(['crun', 'runc'])('limits that a job sets itself, under %s', (runtime) => {
  const home = new ErgonHome({ ERGON_SANDBOX_RUNTIME: runtime })
  let application: Application

  beforeAll(async () => {
    application = new Application(await home.connect(databaseUrlOf((await home.start('dev')).line)))
  })
  afterAll(async () => {
    await home.remove()
    expect(await leftoversAfter(home, 10_000)).toEqual([])
  })

  test.each(CASES)('$limits: all of it is fine, more is $verdict', async ({ limits, within, beyond, ...expected }) => {
    const inside = await application.runPayload({ limits, ...ANY_FORMAT }, within)
    expect(inside, JSON.stringify(inside)).toMatchObject({ status: 'SUCCEEDED', logs: [] })

    const outside = await application.runPayload({ limits, ...ANY_FORMAT }, beyond)
    expect(verdictOf(outside), JSON.stringify(outside)).toBe(expected.verdict)
    const evidence = outside.error?.evidence ?? null
    if (expected.counter === null) return expect(evidence).toBeNull()
    expect(evidence).toMatchObject({ counter: expected.counter, limit: expected.limit })
    if (expected.observed === null) expect(evidence?.observed).toBeNull()
    else expect(evidence?.observed).toBeGreaterThanOrEqual(expected.observed ?? 0)
  })
})

describe('a service whose policy is narrow', () => {
  const policy = {
    limits: { memory_mb: 64, max_artifacts: 1, max_output_kb: 16 },
    on_output_limit: 'truncate',
    formats: ['csv'],
  }
  const home = new ErgonHome({ ERGON_EXECUTOR_POLICY: JSON.stringify(policy) })
  let application: Application

  beforeAll(async () => {
    application = new Application(await home.connect(databaseUrlOf((await home.start('dev')).line)))
  })
  afterAll(async () => {
    await home.remove()
    expect(await leftoversAfter(home, 10_000)).toEqual([])
  })

  test('gives a job that says nothing its ceilings', async () => {
    const { error } = await application.runPayload({}, touches(64))
    expect(error?.evidence).toMatchObject({ counter: 'memory_bytes', limit: 64 * MIB })
  })

  test('refuses a job that asks for more, and names both numbers', async () => {
    const { error } = await application.runPayload({ limits: { memory_mb: 65, max_artifacts: 2 } }, 'pass\n')
    expect(error).toMatchObject({ category: 'VALIDATION_ERROR', code: 'LIMIT_ABOVE_POLICY' })
    expect(error?.message).toContain("limits.memory_mb is 65, the service's policy allows at most 64")
    expect(error?.message).toContain('limits.max_artifacts is 2')
  })

  test('lets a job lower them', async () => {
    const { error } = await application.runPayload({ limits: { memory_mb: 40 } }, touches(40))
    expect(error?.evidence).toMatchObject({ counter: 'memory_bytes', limit: 40 * MIB })
  })

  test('refuses a format that the job allows and the service does not', async () => {
    const leave = (name: string) => `open("/workspace/output/${name}", "w").write("1")\n`
    expect(await application.runPayload(ANY_FORMAT, leave('a.csv'))).toMatchObject({ status: 'SUCCEEDED' })
    const other = await application.runPayload(ANY_FORMAT, leave('a.json'))
    expect(verdictOf(other)).toBe('SANDBOX_VIOLATION/ARTIFACT_FORMAT_NOT_ALLOWED')
  })

  test.each([
    ['13', 'stdout', 'import sys\nfor _ in range(256): sys.stdout.write("x" * 65536)\n', 'x'.repeat(16_384)],
    ['14', 'stderr', 'import sys\nfor _ in range(256): sys.stderr.write("x" * 65536)\n', 'x'.repeat(16_384)],
    [
      '15',
      'stdout',
      'import os\nfor _ in range(4096): os.write(1, b"\\xff\\x00\\x1b[" * 1024)\n',
      '\uFFFD␀␛['.repeat(4_096),
    ],
  ] as const)('lets a flood run on and drops the rest (row %s, %s)', async (_row, stream, program, kept) => {
    const result = await application.runPayload({}, program)
    expect(result, JSON.stringify(result.error)).toMatchObject({ status: 'SUCCEEDED' })
    expect(result.outputs[stream]).toBe(kept)
    expect(result.logs).toMatchObject([
      { level: 'warn', message: `${stream} was cut at its limit. ${stream}_bytes: limit 16384, observed 16777216` },
    ])
  })

  test('a limit of a policy that does not exist is refused at the start', async () => {
    const wrong = new ErgonHome({ ERGON_EXECUTOR_POLICY: '{"limits":{"memry_mb":1}}' })
    const ended = await wrong.run('jobs', 'list', '--json')
    expect(ended.code).toBe(2)
    expect(ended.stdout).toContain('ERGON_EXECUTOR_POLICY')
    expect(ended.stdout).toContain('memry_mb')
    await wrong.remove()
  })
})
