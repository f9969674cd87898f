import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { jobResultSchema } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { leftoversAfter } from './leftovers.ts'

const EXAMPLE = path.join(import.meta.dirname, '../../../../examples/registry/registry.yaml')

/** A sandboxed service whose program says which version of the registry it is from. */
function registryOf(version: string, more = ''): string {
  return `services:
  - name: Answer
    type: computation
    category: tests
    execution_type: sandbox
    operations:
      - name: give
        timeout: 30
        max_retries: 0
        input_schema: {parameters: {seconds: number}}
        output_schema: {result_json: {version: string}}
    runner_config: {environment: python-sci, script: programs/${version}.py}
    security_policy: {resource_limits: {memory_mb: 128}, formats: [txt]}
${more}`
}

const program = (version: string) => `
import json, os, time
parameters = json.load(open(os.environ["ERGON_PARAMETERS"]))
print("started", flush=True)
time.sleep(parameters["seconds"])
json.dump({"version": "${version}"}, open(os.environ["ERGON_RESULT"], "w"))
open(os.environ["ERGON_OUTPUT_DIR"] + "/a.txt", "w").write("x")
`

describe('services of a registry', () => {
  const home = new ErgonHome({ ERGON_LOG_LEVEL: 'info' })
  let app: Application
  let dev: ChildProcess
  let log = ''
  let registry: string

  beforeAll(async () => {
    execFileSync('mkdir', ['-p', path.join(home.folder, 'programs')])
    for (const version of ['one', 'two']) home.file(`programs/${version}.py`, program(version))
    registry = home.file('registry.yaml', registryOf('one'))
    const started = await home.start('dev', '--registry', registry)
    dev = started.child
    dev.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString('utf8')))
    app = new Application(await home.connect(databaseUrlOf(started.line)))
  })
  afterAll(async () => {
    await home.remove()
    expect(await leftoversAfter(home, 10_000)).toEqual([])
  })

  async function insert(columns: Record<string, unknown>): Promise<string> {
    const row = {
      id: randomUUID(),
      service_name: 'ANSWER',
      operation: 'GIVE',
      execution_type: 'sandbox',
      input_data: '{"parameters": {"seconds": 0}}',
      ...columns,
    }
    const named = { identifier: `test_${row.id}`, ...row }
    const places = Object.keys(named).map((_, index) => `$${index + 1}`)
    await app.db.query(
      `insert into jobs.tb_job_run (${Object.keys(named).join(', ')}) values (${places.join(', ')})`,
      Object.values(named),
    )
    return row.id
  }

  async function call(seconds: number) {
    const input = JSON.stringify({ parameters: { seconds } })
    const { code, stdout, stderr } = await home.run(
      'call',
      'answer.give',
      '--input',
      input,
      '--registry',
      registry,
      '--json',
    )
    return { code, stderr, result: jobResultSchema.parse(JSON.parse(stdout)) }
  }

  test('ergon call runs an operation and prints the result envelope', async () => {
    const { code, result } = await call(0)
    expect({ code, status: result.status, job_type: result.job_type }).toEqual({
      code: 0,
      status: 'SUCCEEDED',
      job_type: 'give',
    })
    expect(result.outputs).toEqual({ result_json: { version: 'one' }, stdout: 'started\n', stderr: '' })
    expect(result.artifacts.map(({ metadata }) => metadata.name)).toEqual(['a.txt'])
    const { rows } = await app.db.query(
      'select service_name, operation, execution_type, max_attempts, timeout_seconds from jobs.tb_job_run where id = $1',
      [result.job_id],
    )
    expect(rows).toEqual([
      { service_name: 'Answer', operation: 'give', execution_type: 'sandbox', max_attempts: 1, timeout_seconds: 30 },
    ])
  })

  test('a row names service, operation and input; what else it says is told and not obeyed', async () => {
    const id = await insert({
      runner_config: '{"environment": "evil", "code": "print(1)"}',
      security_context: '{"allow": "all"}',
    })
    const result = await app.untilEnded(id)
    expect(result).toMatchObject({ status: 'SUCCEEDED', outputs: { result_json: { version: 'one' } } })
    expect(result.logs.map(({ message }) => message).join()).toContain('another runner_config than the registry')
  })

  test('input that breaks the schema starts nothing', async () => {
    const result = await app.untilEnded(await insert({ input_data: '{"parameters": {"seconds": "0"}}' }))
    expect(result).toMatchObject({
      status: 'FAILED',
      env_version: null,
      error: { category: 'VALIDATION_ERROR', code: 'INPUT_INVALID' },
    })
    expect(result.error?.message).toContain('input_data/parameters/seconds: must be number')
  })

  test('an operation that is not there is a failure that lists what is', async () => {
    const result = await app.untilEnded(await insert({ operation: 'take' }))
    expect(result.error).toMatchObject({ category: 'VALIDATION_ERROR', code: 'OPERATION_NOT_FOUND' })
    expect(result.error?.message).toContain("Operation 'take' of service 'Answer' not found. Available: [give]")
  })

  test('jobs of a lane that is not served, or of no service at all, are never claimed', async () => {
    const ids = [await insert({ queue: 'slow' }), await insert({ service_name: 'nobody' })]
    await app.untilEnded(await insert({}))
    const { rows } = await app.db.query('select distinct status, attempts from jobs.tb_job_run where id = any ($1)', [
      ids,
    ])
    expect(rows).toEqual([{ status: 'pending', attempts: 0 }])
  })

  test('a job goes to the lane of its service, whatever execution type its row names', async () => {
    const result = await app.untilEnded(await insert({ execution_type: 'quantum' }))
    expect(result).toMatchObject({ status: 'SUCCEEDED', outputs: { result_json: { version: 'one' } } })
  })

  test('SIGHUP serves a new version; the job that runs ends as what it began as', async () => {
    const running = await insert({ input_data: '{"parameters": {"seconds": 3}}' })
    await app.untilStatus(running, ['running'])
    writeFileSync(registry, registryOf('two'))
    dev.kill('SIGHUP')
    await app.until(
      async () =>
        (await call(0)).result.outputs.result_json !== null && log.includes('the service registry was replaced'),
    )
    expect((await call(0)).result.outputs.result_json).toEqual({ version: 'two' })
    expect(await app.untilEnded(running)).toMatchObject({
      status: 'SUCCEEDED',
      outputs: { result_json: { version: 'one' } },
    })
  })

  test('a version that is not valid is logged with its faults, and the one before it goes on serving', async () => {
    writeFileSync(registry, registryOf('two', 'productoin: {}\n'))
    dev.kill('SIGHUP')
    await app.until(() => Promise.resolve(log.includes('is not valid; the one before it goes on serving')))
    expect(log).toContain('did you mean \\"production\\"?')
    expect(await app.untilEnded(await insert({}))).toMatchObject({ outputs: { result_json: { version: 'two' } } })
    writeFileSync(registry, registryOf('two'))
  })

  test('a worker of its own serves a registry of its own, and reads that again too', async () => {
    const own = home.file('own.yaml', registryOf('one').replace('name: Answer', 'name: Own'))
    const { child } = await home.start('worker', '--registry', own)
    const first = await app.untilEnded(await insert({ service_name: 'own' }))
    expect(first.outputs.result_json).toEqual({ version: 'one' })
    writeFileSync(own, registryOf('two').replace('name: Answer', 'name: Own'))
    child.kill('SIGHUP')
    await app.until(async () => {
      const { outputs } = await app.untilEnded(await insert({ service_name: 'own' }))
      return JSON.stringify(outputs.result_json) === '{"version":"two"}'
    })
    child.kill('SIGTERM')
  })

  test('a stack that serves another registry says so instead of never claiming', async () => {
    const other = await home.run(
      'call',
      'statistics.fit_line',
      '--input',
      '{"parameters": {"points": [[0, 0], [1, 1]]}}',
      '--registry',
      EXAMPLE,
    )
    expect(other.code).toBe(3)
    expect(other.stderr).toContain(`serves the service registry ${registry}, this command needs ${EXAMPLE}`)
  })
})

test('the example is valid, has no high risk, and runs without a stack that was started before', async () => {
  const home = new ErgonHome()
  expect(await home.run('validate-config', EXAMPLE)).toMatchObject({ code: 0, stderr: '' })
  expect(await home.run('security-check', EXAMPLE)).toMatchObject({ code: 0 })
  const points = {
    parameters: {
      points: [
        [0, 1],
        [1, 3],
        [2, 5],
      ],
    },
  }
  const { code, stdout } = await home.run(
    'call',
    'statistics.fit_line',
    '--input',
    JSON.stringify(points),
    '--registry',
    EXAMPLE,
    '--json',
  )
  const result = jobResultSchema.parse(JSON.parse(stdout))
  expect(code).toBe(0)
  expect(result.outputs.result_json).toMatchObject({
    slope: expect.closeTo(2) as unknown,
    intercept: expect.closeTo(1) as unknown,
  })
  expect(result.artifacts).toMatchObject([{ format: 'svg', metadata: { name: 'fit.svg' } }])
  const files = [{ name: 'a.txt', text: 'a' }]
  const checksums = { command: '/usr/bin/sha256sum', args: ['/workspace/input/a.txt'], files }
  const called = await home.run(
    'call',
    'checksums.sha256',
    '--input',
    JSON.stringify(checksums),
    '--registry',
    EXAMPLE,
    '--json',
  )
  expect(jobResultSchema.parse(JSON.parse(called.stdout)).outputs).toEqual({
    result_json: { exit_code: 0 },
    stdout: 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  /workspace/input/a.txt\n',
    stderr: '',
  })
  // As the registry and docs/registry.md tell a newcomer to.
  const folder = path.join(path.dirname(EXAMPLE), 'catalogue')
  const api = spawn('python3', ['-m', 'http.server', '8765', '--bind', '127.0.0.1', '--directory', folder], {
    stdio: 'ignore',
  })
  try {
    const input = JSON.stringify({ path: '/{name}.json', path_parameters: { name: 'elements' } })
    const call = await home.run('call', 'catalogue.fetch', '--input', input, '--registry', EXAMPLE, '--json')
    expect(jobResultSchema.parse(JSON.parse(call.stdout)).outputs.result_json).toMatchObject({
      status_code: 200,
      body: { elements: expect.arrayContaining([{ symbol: 'He', name: 'helium', mass: 4.002602 }]) as unknown },
    })
  } finally {
    api.kill()
  }
  await home.remove()
  expect(await leftoversAfter(home, 10_000)).toEqual([])
})

test('no process list and no environment of the worker shows what it was handed', async () => {
  const home = new ErgonHome()
  const secret = `hunter2-${randomUUID()}`
  const registry = home.file(
    'registry.yaml',
    registryOf('one')
      .replace('environment: python-sci', 'environment: "${ENVIRONMENT}"')
      .replace('script: programs/one.py', 'code: "x = 1"'),
  )
  const { line } = await home.startWith(
    { ENVIRONMENT: 'python-sci', OTHER_SECRET: secret },
    'dev',
    '--registry',
    registry,
  )
  const app = new Application(await home.connect(databaseUrlOf(line)))
  const { rows } = await app.db.query('select pid from jobs.tb_job_worker')
  const pid = (rows[0] as { pid: number }).pid
  expect(readFileSync(`/proc/${pid}/environ`, 'utf8') + readFileSync(`/proc/${pid}/cmdline`, 'utf8')).not.toMatch(
    /hunter2|ENVIRONMENT=/,
  )
  await home.remove()
})
