import type { ExecuteAnswer } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FACADE_TENANT } from '../../src/api/facade/facade-rules.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { apiUrlOf, execute } from './facade-client.ts'

const MIB = 1024 * 1024

describe('the facade on a stack as `ergon dev` starts it', () => {
  let home: ErgonHome
  let url = ''
  let databaseUrl = ''
  beforeAll(async () => {
    home = new ErgonHome({ ERGON_API_LISTEN: '127.0.0.1:0' })
    const { line } = await home.start('dev')
    url = apiUrlOf(line)
    databaseUrl = databaseUrlOf(line)
  })
  afterAll(() => home?.remove())

  /** Of code that ends by itself, successfully or not. */
  async function run(code: string, more: Record<string, unknown> = {}): Promise<ExecuteAnswer> {
    const { httpStatus, answer } = await execute(url, { code, timeoutSeconds: 30, ...more })
    expect(httpStatus, answer.stderr).toBe(200)
    return answer
  }

  test('is well', async () => {
    expect(await (await fetch(`${url}/health`)).text()).toBe('{"status":"ok"}')
    const executor = await fetch(`${url}/health/executor`)
    expect([executor.status, await executor.text()]).toEqual([200, '{"status":"ok","backend":"ergon"}'])
  })

  test('runs Python with the libraries of science, as a job like any other', async () => {
    const answer = await run(
      'import matplotlib, numpy, os, pandas, scipy, sympy\nprint(matplotlib.get_backend().lower(), os.environ["PRAXIS_OUTPUT_DIR"], numpy.mean([2, 4, 6]))',
    )
    expect(answer).toEqual({
      executionId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      status: 'success',
      stdout: 'agg /workspace/output 4.0\n',
      stderr: '',
      exitCode: 0,
      durationMs: expect.any(Number),
      errorCategory: null,
      artifacts: [],
    })
    expect(answer.durationMs).toBeGreaterThan(0)
    const client = await home.connect(databaseUrl)
    const { rows } = await client.query(
      `select status, tenant_id, service_name, operation, execution_type, timeout_seconds, input_data -> 'limits' ->> 'memory_mb' as memory
       from jobs.tb_job_run where id = $1`,
      [answer.executionId],
    )
    expect(rows).toEqual([
      {
        status: 'completed',
        tenant_id: FACADE_TENANT,
        service_name: 'executor',
        operation: 'object_execute',
        execution_type: 'sandbox',
        timeout_seconds: 30,
        memory: '256',
      },
    ])
  })

  const failures: [string, string, Record<string, unknown>, Partial<ExecuteAnswer>, string][] = [
    ['an exception', '1/0', {}, { errorCategory: 'USER_CODE_ERROR', exitCode: 1 }, 'ZeroDivisionError'],
    ['a syntax error', 'def oops(:\n', {}, { errorCategory: 'USER_CODE_ERROR', exitCode: 1 }, 'SyntaxError'],
    ['sys.exit(3)', 'import sys\nsys.exit(3)', {}, { errorCategory: 'USER_CODE_ERROR', exitCode: 3 }, 'status 3'],
    [
      'a missing module',
      'import nowhere',
      {},
      { errorCategory: 'DEPENDENCY_ERROR', exitCode: 1 },
      'ModuleNotFoundError',
    ],
    ['too little memory', 'bytearray(300 << 20)', {}, { errorCategory: 'RESOURCE_LIMIT', exitCode: null }, 'memory'],
    [
      'too little time, under the name that Python has for it',
      'print("began", flush=True)\nimport time\ntime.sleep(60)',
      { timeoutSeconds: undefined, timeout_seconds: 1 },
      { errorCategory: 'RESOURCE_LIMIT', exitCode: null, stdout: 'began\n' },
      'wall-clock limit',
    ],
    [
      'an attempt to reach the network',
      'import urllib.request\nurllib.request.urlopen("http://192.0.2.1/")',
      {},
      { errorCategory: 'SANDBOX_VIOLATION', exitCode: 1 },
      'Network is unreachable',
    ],
  ]
  test.each(failures)('tells of %s', async (_what, code, more, expected, words) => {
    const answer = await run(code, more)
    expect(answer).toMatchObject({ status: 'error', artifacts: [], ...expected })
    expect(answer.stderr).toContain(words)
    expect(answer.executionId).not.toBe('')
  })

  test('keeps the files of code that failed', async () => {
    const answer = await run('open("/workspace/output/a.txt", "w").write("kept")\nraise ValueError')
    expect(answer).toMatchObject({ status: 'error', artifacts: [{ filename: 'a.txt' }] })
  })

  test('gives files back by name, each with its bytes, whatever its name', async () => {
    const { artifacts } = await run(`
import matplotlib.pyplot as plt, os
folder = os.environ["PRAXIS_OUTPUT_DIR"]
plt.plot([1, 2])
for name in ("plot.png", "plot.svg", "photo.jpg"): plt.savefig(f"{folder}/{name}")
for name in ("b.csv", "a.json", "note.txt", "model.pkl", "README", "page.html"):
    open(f"{folder}/{name}", "w").write("[1]")
`)
    const shown = artifacts.map(({ filename, type, mimeType }) => [filename, type, mimeType])
    expect(shown).toEqual([
      ['README', 'data', 'application/octet-stream'],
      ['a.json', 'json', 'application/json'],
      ['b.csv', 'text', 'text/csv'],
      ['model.pkl', 'data', 'application/octet-stream'],
      ['note.txt', 'text', 'text/plain'],
      ['page.html', 'data', 'application/octet-stream'],
      ['photo.jpg', 'image', 'image/jpeg'],
      ['plot.png', 'image', 'image/png'],
      ['plot.svg', 'image', 'image/svg+xml'],
    ])
    for (const { filename, mimeType, sizeBytes, dataUrl } of artifacts) {
      const [, type, text = ''] = /^data:([a-z/+-]+);base64,([A-Za-z0-9+/]*=*)$/.exec(dataUrl ?? '') ?? []
      const bytes = Buffer.from(text, 'base64')
      expect([filename, type, bytes.length]).toEqual([filename, mimeType, sizeBytes])
      if (filename === 'a.json') expect(bytes.toString()).toBe('[1]')
    }
  })

  test('shows the first twenty of twenty-five files', async () => {
    const { artifacts } = await run('for at in range(25): open(f"/workspace/output/{at:02}.txt", "w").write("x" * at)')
    expect(artifacts.map(({ filename, sizeBytes }) => [filename, sizeBytes])).toEqual(
      Array.from({ length: 20 }, (_, at) => [`${String(at).padStart(2, '0')}.txt`, at]),
    )
    expect(new Set(artifacts.map(({ artifactId }) => artifactId)).size).toBe(20)
  })

  test('says of a file above 8 MiB that it is there, and sends one of 8 MiB', async () => {
    const { artifacts } = await run(
      `for name, size in (("most.bin", ${8 * MIB}), ("over.bin", ${8 * MIB + 1})):\n    open(f"/workspace/output/{name}", "wb").write(bytes(size))`,
    )
    const [most, over] = artifacts
    expect(most).toMatchObject({ filename: 'most.bin', sizeBytes: 8 * MIB })
    expect(most?.dataUrl).toHaveLength('data:application/octet-stream;base64,'.length + 4 * Math.ceil((8 * MIB) / 3))
    expect(over).toMatchObject({ filename: 'over.bin', sizeBytes: 8 * MIB + 1, dataUrl: null })
  })

  test('cuts each stream at 20 000 characters, none of them in half', async () => {
    const { stdout, stderr } = await run(
      'import sys\nsys.stdout.write("\\U0001F600" * 20001)\nsys.stderr.write("é" * 20000)',
    )
    expect(stdout).toBe(`${'\u{1F600}'.repeat(20_000)}\n…[truncated, 1 more chars]`)
    expect(stderr).toBe('é'.repeat(20_000))
  })

  test('takes 200 000 characters, and not one more', async () => {
    const code = `print("long")#${'\u{1F600}'.repeat(200_000 - 14)}`
    expect(await run(code)).toMatchObject({ stdout: 'long\n' })
    expect((await execute(url, { code: `${code}x` })).httpStatus).toBe(422)
  })

  test('runs code of a token’s tenant under its limits', async () => {
    const tenant = 'aaaaaaaa-0000-4000-8000-000000000001'
    const made = await home.run('tokens', 'create', '--name', 'web', '--scopes', 'submit', '--tenant', tenant, '--json')
    const { token } = JSON.parse(made.stdout) as { token: string }
    const headers = { authorization: `Bearer ${token}`, 'x-forwarded-for': '9.9.9.9' }
    const { httpStatus, answer } = await execute(url, { code: 'print(len(bytearray(300 << 20)) >> 20)' }, headers)
    expect({ httpStatus, stdout: answer.stdout }).toEqual({ httpStatus: 200, stdout: '300\n' })
  })
})
