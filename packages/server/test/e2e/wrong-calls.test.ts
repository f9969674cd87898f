import path from 'node:path'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ErgonHome } from './ergon.ts'
import { leftoversAfter } from './leftovers.ts'

const home = new ErgonHome()
const program = home.file('ok.py', 'print("ok")\n')

// Several of the calls need its database; one stack for all is quicker than one for each.
beforeAll(async () => {
  await home.start('dev')
})
afterAll(async () => {
  await home.remove()
  expect(await leftoversAfter(home, 10_000)).toEqual([])
})

const registry = home.file(
  'registry.yaml',
  `services:
  - name: math
    type: computation
    category: science
    execution_type: sandbox
    operations: [{name: square, input_schema: {parameters: {n: number}}}]
    runner_config: {environment: python-sci, code: pass}
  - {name: bank, type: payment, category: finance, operations: [{name: pay}], runner_config: {base_url: "https://example.org"}}
`,
)

const EXAMPLE = path.join(import.meta.dirname, '../../../../examples/registry/registry.yaml')

/** Each wrong call: its arguments, the code, and words the message must have: what, the value seen, or the remedy. */
const WRONG_CALLS: [args: string[], code: string, words: string[]][] = [
  [['run', '/not/there.py'], 'FILE_UNREADABLE', ['/not/there.py', 'ENOENT']],
  [['run', program, '--runtime', 'pythn'], 'RUNTIME_UNKNOWN', ['pythn', 'did you mean "python"']],
  [['run', home.file('a.xyz', '')], 'RUNTIME_UNKNOWN', ['a.xyz', '--runtime']],
  [['run', program, '--timeout', '-1'], 'LIMIT_INVALID', ['"-1"', 'from 0.1 to 3600']],
  [['run', program, '--memory', '1e9'], 'LIMIT_INVALID', ['1e9', '8192']],
  [['run', program, '--memory', 'lots'], 'LIMIT_INVALID', ['lots']],
  [['run', program, '--param', 'x'], 'PARAMETER_INVALID', ['NAME=JSON']],
  [['run', program, '--param', 'x=hello'], 'PARAMETER_INVALID', ['"hello"', 'is not JSON', '--param \'x="hello"\'']],
  [['run', program, '--dataset', '../x=/etc/hostname'], 'PARAMETER_INVALID', ['../x']],
  [['run', program, '--dataset', 'x=/not/there.csv'], 'FILE_UNREADABLE', ['/not/there.csv']],
  [['run', program, '--env', 'python-scy'], 'ENVIRONMENT_NOT_FOUND', ['did you mean "python-sci"', 'ergon env build']],
  [['run', program, '--memry', '3'], 'USAGE', ['--memry', 'Did you mean --memory']],
  [['rnu', program], 'USAGE', ['rnu', 'Did you mean run']],
  [['run', '/dev/zero'], 'RUNTIME_UNKNOWN', ['/dev/zero', '--runtime']],
  [['run', program, '--runtime', 'ruby'], 'RUNTIME_UNKNOWN', ['there is no runtime "ruby". Runtimes: python']],
  [['jobs'], 'USAGE', ['--help']],
  [['jobs', 'list', '--status', 'complete'], 'USAGE', ['did you mean "completed"']],
  [['jobs', 'show', 'nonsense'], 'JOB_NOT_FOUND', ['nonsense', 'ergon jobs list']],
  [
    ['jobs', 'cancel', '00000000-0000-4000-8000-000000000000'],
    'JOB_NOT_FOUND',
    ['00000000-0000-4000-8000-000000000000'],
  ],
  [['jobs', 'retry', 'nonsense'], 'JOB_NOT_FOUND', ['nonsense', 'ergon jobs list']],
  [['jobs', 'logs', 'nonsense', '--stream', 'stdin'], 'USAGE', ['stdin', 'stdout, stderr']],
  [['artifacts', 'get', 'nonsense'], 'ARTIFACT_NOT_FOUND', ['ergon artifacts list']],
  [['env', 'build', 'python-sy'], 'ENVIRONMENT_NOT_FOUND', ['did you mean "python-sci"']],
  [['validate-config'], 'REGISTRY_NOT_FOUND', ['Service registry not found', 'ERGON_REGISTRY']],
  [['validate-config', '/not/there.yaml'], 'REGISTRY_NOT_FOUND', ['Service registry not found', '/not/there.yaml']],
  [['security-check', home.file('empty.yaml', '')], 'REGISTRY_EMPTY', ['Service registry is empty', 'empty.yaml']],
  [
    ['services', 'show', 'nobody', '--registry', registry],
    'SERVICE_NOT_FOUND',
    ["Service 'nobody' not found. Available: [math, bank]"],
  ],
  [
    ['services', 'schema', 'math.cube', '--registry', registry],
    'OPERATION_NOT_FOUND',
    ["Operation 'cube' of service 'math'", '[square]'],
  ],
  [
    ['call', 'word-table.count', '--input', '{"text": "a"}', '--registry', EXAMPLE],
    'RUNNER_NOT_REGISTERED',
    ['docker services are not served here', 'ERGON_DOCKER_HOST'],
  ],
  [['call', 'math', '--registry', registry], 'USAGE', ['SERVICE.OPERATION']],
  [['call', 'math.square', '--input', '{', '--registry', registry], 'INPUT_INVALID', ['--input is not JSON']],
  [
    ['call', 'math.square', '--input', '{"parameters": {"n": "4"}}', '--registry', registry],
    'INPUT_INVALID',
    ['input/parameters/n: must be number'],
  ],
  [
    ['dev', '--data', `${home.folder}/b`, '--registry', home.file('broken.yaml', 'services: [{name: a, exec: b}]')],
    'REGISTRY_INVALID',
    ['broken.yaml:1:', "missing required field 'type'", 'unknown field "exec"'],
  ],
  [['callbacks', 'list', '--state', 'faild'], 'USAGE', ['faild', 'did you mean "failed"?']],
  [['callbacks', 'retry', '0x7'], 'USAGE', ['0x7', 'ergon callbacks list']],
  [['worker', '--lanes', 'quantum'], 'USAGE', ['quantum', 'sandbox']],
  [['dev', '--port', '99999999'], 'LIMIT_INVALID', ['99999999', '65535']],
]

test.each(WRONG_CALLS)('ergon %j is refused as %s', async (args, code, words) => {
  const asText = await home.run(...args)
  expect(asText.code).toBe(2)
  expect(asText.stdout).toBe('')
  for (const word of [...words, code]) expect(asText.stderr).toContain(word)

  const asJson = await home.run(...args, '--json')
  expect(asJson.code).toBe(2)
  expect(JSON.parse(asJson.stdout)).toMatchObject({ error: { category: 'VALIDATION_ERROR', code } })
})

test('an existing file is not overwritten by artifacts get', async () => {
  const { result } = await home.runProgram('import os; open(os.environ["ERGON_OUTPUT_DIR"] + "/a.csv", "w").write("a")')
  const out = home.file('precious.txt', 'mine')
  const ended = await home.run('artifacts', 'get', result.artifacts[0]?.artifact_id ?? '', '--out', out)
  expect(ended).toMatchObject({ code: 2 })
  expect(ended.stderr).toContain(`${out} is there already and is not overwritten`)
})

test('a data folder too deep for sockets is refused with its length', async () => {
  const deep = new ErgonHome({ ERGON_HOME: `${home.folder}/${'d'.repeat(100)}` })
  const ended = await deep.run('run', program, '--json')
  expect(ended.code).toBe(2)
  expect(JSON.parse(ended.stdout)).toMatchObject({ error: { code: 'DATABASE_SOCKET_PATH_TOO_LONG' } })
  await deep.remove()
})

test('a reader that stops early ends a command quietly', async () => {
  const child = home.spawn(['doctor'])
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')))
  child.stdout?.destroy()
  await once(child, 'close')
  expect({ code: child.exitCode, stderr }).toEqual({ code: 141, stderr: '' })
})

test('a database that is not there is named without its password', async () => {
  const away = new ErgonHome({ DATABASE_URL: 'postgresql://someone:hunter2@127.0.0.1:1/nothing' })
  const ended = await away.run('jobs', 'list', '--json')
  expect(ended.code).toBe(3)
  expect(JSON.parse(ended.stdout)).toMatchObject({ error: { code: 'DATABASE_UNREACHABLE' } })
  expect(ended.stdout).toContain('127.0.0.1:1')
  expect(ended.stdout + ended.stderr).not.toContain('hunter2')
  await away.remove()
})

test('settings that cannot be used are named', async () => {
  const wrong = new ErgonHome({ ERGON_LOG_LEVEL: 'loud' })
  expect(await wrong.run('jobs', 'list')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('ERGON_LOG_LEVEL (it is "loud")'),
  })
  await wrong.remove()
})

test('every command explains itself', async () => {
  const help = await home.run('--help')
  expect(help.code).toBe(0)
  for (const name of [
    'run',
    'call',
    'services',
    'validate-config',
    'security-check',
    'jobs',
    'callbacks',
    'artifacts',
    'dev',
    'worker',
    'env',
    'migrate',
    'doctor',
  ]) {
    expect(help.stdout).toContain(`  ${name}`)
    const own = await home.run(name, '--help')
    expect(own).toMatchObject({ code: 0 })
    expect(own.stdout).toContain('Usage: ergon')
  }
})

test('doctor finds this host fit and says where each setting comes from', async () => {
  const ended = await home.run('doctor', '--json')
  const report = JSON.parse(ended.stdout) as { ok: boolean; findings: { check: string; ok: boolean; detail: string }[] }
  expect(report.findings.filter(({ ok }) => !ok)).toEqual([])
  expect(ended.code).toBe(0)
  expect(report.findings.find(({ check }) => check === 'setting ERGON_HOME')?.detail).toContain('(environment)')
})

test('doctor finds a data folder that others cannot enter, with the remedy', async () => {
  const { mkdirSync } = await import('node:fs')
  mkdirSync(`${home.folder}/closed`, { mode: 0o700 })
  const closed = new ErgonHome({ ERGON_HOME: `${home.folder}/closed/data` })
  const ended = await closed.run('doctor')
  expect(ended.code).toBe(3)
  expect(ended.stdout).toContain(`chmod o+x ${home.folder}/closed`)
  await closed.remove()
})

test('doctor reports a profile without its database among the findings, and all else too', async () => {
  const production = new ErgonHome({ ERGON_PROFILE: 'production' })
  const ended = await production.run('doctor', '--json')
  const report = JSON.parse(ended.stdout) as { ok: boolean; findings: { check: string; ok: boolean; detail: string }[] }
  expect(ended.code).toBe(3)
  expect(report.findings.filter(({ ok }) => !ok)).toMatchObject([
    { check: 'profile', detail: expect.stringContaining('ERGON_PROFILE is production, which needs ERGON_REGISTRY') },
    { check: 'database', detail: expect.stringContaining('ERGON_PROFILE is production, which needs DATABASE_URL') },
    { check: 'audit seals', detail: expect.stringContaining('off: there is no signing key'), isEssential: false },
  ])
  expect(report.findings.map(({ check }) => check)).toContain('sandbox')
  const list = await production.run('jobs', 'list')
  expect(list).toMatchObject({ code: 2, stderr: expect.stringContaining('needs DATABASE_URL') })
  await production.remove()
})

test('a data folder that is a file is refused, and nothing is left running', async () => {
  const file = home.file('not-a-folder', '')
  writeFileSync(file, 'x')
  const broken = new ErgonHome({ ERGON_HOME: `${file}/data` })
  const ended = await broken.run('run', program)
  expect(ended.code).toBe(2)
  expect(ended.stderr).toContain('CONFIG_INVALID')
  await broken.remove()
})
