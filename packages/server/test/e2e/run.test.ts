import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { findSandboxes } from './leftovers.ts'

const home = new ErgonHome()
let application: Application

beforeAll(async () => {
  const { line } = await home.start('dev')
  application = new Application(await home.connect(databaseUrlOf(line)))
})

afterAll(async () => {
  await home.remove()
})

describe('a program that succeeds', () => {
  test('gives its result, its output and its artifacts, which can be fetched', async () => {
    const data = home.file('numbers.csv', 'x\n1\n2\n3\n')
    const { code, result } = await home.runProgram(
      `
import json, os, sys
import numpy as np, matplotlib.pyplot as plt
x = np.loadtxt(os.environ["ERGON_INPUT_DIR"] + "/numbers.csv", skiprows=1)
parameters = json.load(open(os.environ["ERGON_PARAMETERS"]))
print("sum", x.sum()); print("warned", file=sys.stderr)
json.dump({"mean": x.mean(), "big": 12345678901234567890, "parameters": parameters}, open(os.environ["ERGON_RESULT"], "w"))
plt.plot(x); plt.savefig(os.environ["PRAXIS_OUTPUT_DIR"] + "/plot.png")
`,
      '--dataset',
      `numbers.csv=${data}`,
      '--param',
      'n=3',
      '--param',
      'huge=98765432109876543210',
    )
    expect(code).toBe(0)
    expect(result).toMatchObject({ status: 'SUCCEEDED', job_type: 'object_execute', schema_version: '1.0' })
    expect(result.outputs).toMatchObject({ stdout: 'sum 6.0\n', stderr: 'warned\n' })
    expect(result.env_version).toMatch(/^python-sci@[0-9a-f]{64}$/)
    expect(result.resource_usage.cpu_ms).toBeGreaterThan(0)
    expect(result.artifacts).toHaveLength(1)
    expect(result.artifacts[0]).toMatchObject({
      kind: 'plot',
      format: 'png',
      content_type: 'image/png',
      metadata: { name: 'plot.png', width: 640, height: 480 },
    })

    const artifact = result.artifacts[0]
    const out = `${home.folder}/${randomUUID()}.png`
    const fetched = await home.run('artifacts', 'get', artifact?.artifact_id ?? '', '--out', out)
    expect(fetched).toMatchObject({ code: 0 })
    expect(readFileSync(out)).toHaveLength(artifact?.size_bytes ?? -1)

    const shown = await home.run('jobs', 'show', result.job_id, '--json')
    // As text: the numbers are larger than a double can hold.
    expect(shown.stdout).toContain('"big":12345678901234567890')
    expect(shown.stdout).toContain('"huge":98765432109876543210')
    const logs = await home.run('jobs', 'logs', result.job_id)
    expect(logs).toMatchObject({ stdout: 'sum 6.0\n', stderr: 'warned\n' })
  })

  test('the same program gives the same digest', async () => {
    const program = `
import os, matplotlib.pyplot as plt
plt.plot([1, 3, 2]); plt.savefig(os.environ["ERGON_OUTPUT_DIR"] + "/a.svg", metadata={"Date": None})
`
    const [one, two] = [await home.runProgram(program), await home.runProgram(program)]
    expect(one.result.artifacts[0]?.digest).toBe(two.result.artifacts[0]?.digest)
    expect(one.result.artifacts[0]?.artifact_id).not.toBe(two.result.artifacts[0]?.artifact_id)
  })
})

/** The plain cases of contracts: each with its category, its code, and the counter that the verdict rests on. */
const FAILURES: [
  name: string,
  program: string,
  options: string[],
  expected: { category: string; code: string; message?: unknown },
  counter: string | null,
][] = [
  [
    'an exception',
    'x = 1\nraise ValueError("no")\n',
    [],
    { category: 'USER_CODE_ERROR', code: 'PYTHON_EXCEPTION' },
    null,
  ],
  ['a syntax error', 'x = 1\ny = (\n', [], { category: 'USER_CODE_ERROR', code: 'PYTHON_SYNTAX_ERROR' }, null],
  ['a missing module', 'import not_there\n', [], { category: 'DEPENDENCY_ERROR', code: 'MODULE_NOT_FOUND' }, null],
  [
    'sys.exit with text',
    'import sys; sys.exit("x")\n',
    [],
    { category: 'USER_CODE_ERROR', code: 'NON_ZERO_EXIT' },
    null,
  ],
  [
    'a program that claims an exit by signal',
    'import os; os._exit(137)\n',
    [],
    { category: 'USER_CODE_ERROR', code: 'NON_ZERO_EXIT' },
    null,
  ],
  [
    'a program that kills itself',
    'import os; os.kill(os.getpid(), 9)\n',
    [],
    { category: 'USER_CODE_ERROR', code: 'KILLED_BY_SIGNAL' },
    null,
  ],
  [
    'a printed MemoryError',
    'print("MemoryError: out of memory")\nraise SystemExit(3)\n',
    [],
    { category: 'USER_CODE_ERROR', code: 'NON_ZERO_EXIT' },
    null,
  ],
  [
    'too much wall time',
    'import time; time.sleep(60)\n',
    ['--timeout', '1'],
    { category: 'RESOURCE_LIMIT', code: 'WALL_TIME' },
    'wall_ms',
  ],
  [
    'too much memory',
    'a = []\nwhile True: a.append(bytearray(1 << 20))\n',
    ['--memory', '64'],
    { category: 'RESOURCE_LIMIT', code: 'MEMORY' },
    'memory_bytes',
  ],
  [
    'too much output',
    'while True: print("x" * 1000)\n',
    [],
    { category: 'RESOURCE_LIMIT', code: 'OUTPUT' },
    'stdout_bytes',
  ],
  [
    'too large a file',
    'open("/workspace/big", "wb").write(b"x" * (600 << 20))\n',
    ['--memory', '1024'],
    { category: 'RESOURCE_LIMIT', code: 'FILE_SIZE' },
    'file_size_bytes',
  ],
  [
    'a result with NaN',
    'open("/workspace/result.json", "w").write("{\\"a\\": NaN}")\n',
    [],
    { category: 'USER_CODE_ERROR', code: 'RESULT_NOT_JSON' },
    null,
  ],
  [
    'a linked artifact',
    'import os; os.symlink("/etc/passwd", "/workspace/output/a.txt")\n',
    [],
    { category: 'SANDBOX_VIOLATION', code: 'ARTIFACT_SYMLINK' },
    'collection_violations',
  ],
  [
    'a picture that is none',
    'open("/workspace/output/a.png", "w").write("<html>")\n',
    [],
    {
      category: 'SANDBOX_VIOLATION',
      code: 'ARTIFACT_CONTENT_MISMATCH',
      message: expect.stringContaining('it is called png'),
    },
    'collection_violations',
  ],
]

describe('a program that fails', () => {
  test.each(FAILURES)('%s', async (_name, program, options, expected, counter) => {
    const { code, result } = await home.runProgram(program, ...options)
    expect(code).toBe(1)
    expect(result.status).toBe(expected.code === 'WALL_TIME' ? 'TIMED_OUT' : 'FAILED')
    expect(result.error).toMatchObject(expected)
    expect(result.error?.evidence?.counter ?? null).toBe(counter)
  })

  test('too much CPU time, of the whole tree', async () => {
    const result = await application.runPayload(
      { limits: { cpu_ms: 500, timeout_ms: 20_000 } },
      'import os\nif os.fork() == 0:\n    while True: pass\nos.wait()\n',
    )
    expect(result).toMatchObject({
      status: 'FAILED',
      error: { category: 'RESOURCE_LIMIT', code: 'CPU_TIME', evidence: { counter: 'cpu_ms', limit: 500 } },
    })
    expect(result.error?.evidence?.observed).toBeGreaterThanOrEqual(500)
  })

  test('an exception comes with line, column and a traceback without our own frames', async () => {
    const { result } = await home.runProgram('def f():\n    return 1 / 0\n\nf()\n')
    expect(result.error?.details).toMatchObject({ line: 2, column: 12 })
    expect(result.error?.details?.traceback).toContain('File "/workspace/code/program.py", line 4')
    expect(result.error?.details?.traceback).not.toContain('/usr/lib/ergon')
    expect(result.outputs.stderr).toContain('ZeroDivisionError: division by zero')
  })

  test('output before a failure is kept, and terminal escapes are made visible', async () => {
    const { result } = await home.runProgram(
      'import sys\nsys.stdout.buffer.write(b"\\x1b[31mred\\x00\\xff")\nraise SystemExit(1)\n',
    )
    expect(result.outputs.stdout).toBe('␛[31mred␀\uFFFD')
  })
})

describe('a payload that cannot run', () => {
  test.each([
    ['a newer major version', { schema_version: '2.0' }, 'UNSUPPORTED_SCHEMA_VERSION'],
    ['a job type that is not built', { job_type: 'document_export' }, 'UNSUPPORTED_JOB_TYPE'],
    ['a negative limit', { limits: { timeout_ms: -5 } }, 'PAYLOAD_INVALID'],
    ['an absurd limit', { limits: { memory_mb: 1e9 } }, 'PAYLOAD_INVALID'],
    ['a limit above the policy', { limits: { memory_mb: 60_000 } }, 'LIMIT_ABOVE_POLICY'],
    ['an unknown language', { environment: { language: 'cobol', env_version: 'python-sci' } }, 'RUNTIME_UNKNOWN'],
    [
      'an unknown environment',
      { environment: { language: 'python', env_version: 'python-scy' } },
      'ENVIRONMENT_NOT_FOUND',
    ],
  ])('%s', async (_name, change, code) => {
    const result = await application.runPayload(change, 'pass\n')
    expect(result).toMatchObject({ status: 'FAILED', error: { category: 'VALIDATION_ERROR', code } })
  })

  test('a minor version that is newer, and fields it does not know, are read as far as they are known', async () => {
    const result = await application.runPayload({ schema_version: '1.9', something_new: { a: 1 } }, 'pass\n')
    expect(result.status).toBe('SUCCEEDED')
  })

  test('an input beyond the cap is refused at the INSERT with a code, and nothing is written', async () => {
    await expect(application.runPayload({}, `# ${'x'.repeat(2 << 20)}`)).rejects.toThrow('INPUT_TOO_LARGE')
  })
})

test('a job is named by its identifier too, and a failed one can be queued again', async () => {
  const id = await application.insert({}, 'import os, sys\nsys.exit(3)\n')
  expect(await application.untilEnded(id)).toMatchObject({ status: 'FAILED' })
  const shown = await home.run('jobs', 'show', `test_${id}`, '--json')
  expect(JSON.parse(shown.stdout)).toMatchObject({ job_id: id, status: 'FAILED' })

  const retried = await home.run('jobs', 'retry', `test_${id}`, '--json')
  expect(retried).toMatchObject({ code: 0, stdout: `{"job_id":"${id}","status":"QUEUED"}\n` })
  await application.until(async () => (await application.failureCodes(id)).length === 2)
  expect(await application.untilEnded(id)).toMatchObject({ status: 'FAILED' })

  const fine = await application.insert({}, 'pass\n')
  await application.untilEnded(fine)
  const refused = await home.run('jobs', 'retry', fine)
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('has not failed') })
})

test('traceability fields come back on the result', async () => {
  const result = await application.runPayload(
    { project_id: 'p1', document_id: 'd1', document_revision_id: 'r1', target: { object_id: 'o1' } },
    'pass\n',
  )
  expect(result).toMatchObject({
    status: 'SUCCEEDED',
    project_id: 'p1',
    document_id: 'd1',
    document_revision_id: 'r1',
    target: { object_id: 'o1' },
  })
})

test('a program that asks for its own address has not tried to reach the network', async () => {
  const { result } = await home.runProgram('import socket\nprint(socket.gethostbyname(socket.gethostname()))\n')
  expect(result).toMatchObject({ status: 'SUCCEEDED', outputs: { stdout: '127.0.0.1\n' }, logs: [] })
})

test('a job of a rolled-back transaction never runs', async () => {
  const id = await application.insertAndRollBack('pass\n')
  await application.runPayload({}, 'pass\n')
  expect((await home.run('jobs', 'show', id)).code).toBe(2)
})

test('cancelling a running job kills it and says so', async () => {
  const id = await application.insert({}, 'import time\nprint("here")\ntime.sleep(60)\n')
  await application.until(async () => findSandboxes(home).length > 0)
  expect(await home.run('jobs', 'cancel', id)).toMatchObject({ code: 0 })
  expect(await application.read(id)).toMatchObject({ status: 'CANCELLED' })
  await application.untilNoSandbox(home)
  expect(await home.run('jobs', 'cancel', id)).toMatchObject({ code: 2 })
})

test("a user's own UPDATE cancels, too", async () => {
  const id = await application.insert({}, 'import time\ntime.sleep(60)\n')
  await application.untilStatus(id, ['running'])
  await application.db.query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id])
  await application.untilNoSandbox(home)
  expect(await application.read(id)).toMatchObject({ status: 'CANCELLED' })
})

test('output can be followed while the job runs', async () => {
  const id = await application.insert({}, 'import time\nprint("first")\ntime.sleep(60)\n')
  await application.until(async () => (await home.run('jobs', 'logs', id)).stdout === 'first\n')
  expect((await application.read(id)).status).toBe('RUNNING')
  await home.run('jobs', 'cancel', id)
})

test('nothing is left of the sandboxes', async () => {
  await application.untilNoSandbox(home)
  expect(findSandboxes(home)).toEqual([])
})
