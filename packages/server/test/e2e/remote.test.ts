import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { documentedFile } from '../../../client/test/architecture/documented-examples.ts'
import { ErgonHome } from './ergon.ts'
import { findProcesses } from './leftovers.ts'

const checkout = path.join(import.meta.dirname, '../../../..')
/** Serves the documented page, and the compiled client where the page looks for it. */
const site = createServer((request, response) => {
  const [, file] = /^\/node_modules\/@ergon\/client\/(dist\/[a-z-]+\.js)$/.exec(request.url ?? '') ?? []
  response.setHeader('content-type', file === undefined ? 'text/html' : 'text/javascript')
  response.end(file === undefined ? documentedFile('example.html') : readFileSync(path.join(client, file)))
})
const client = path.join(checkout, 'packages/client')
let home: ErgonHome
/** Another machine, as far as Ergon goes: no data, no environments, nothing that runs. */
let away: ErgonHome
let token: string
let url: string

beforeAll(async () => {
  await once(site.listen(0, '127.0.0.1'), 'listening')
  home = new ErgonHome({
    ERGON_API_LISTEN: '127.0.0.1:0',
    ERGON_API_CORS_ORIGINS: originOf(site),
    ERGON_REGISTRY: path.join(checkout, 'examples/registry/registry.yaml'),
  })
  const { line } = await home.start('dev')
  url = String((line as { apiUrl: unknown }).apiUrl)
  const scopes = 'submit,read,cancel,artifacts'
  const made = await home.run('tokens', 'create', '--name', 'away', '--scopes', scopes, '--all-tenants', '--json')
  token = String((JSON.parse(made.stdout) as { token: unknown }).token)
  away = new ErgonHome({
    ERGON_URL: url,
    ERGON_TOKEN: token,
    ERGON_ENVIRONMENTS: '/nowhere',
    ERGON_PROFILE: 'production',
  })
})

afterAll(async () => {
  site.close()
  await away.remove()
  await home.remove()
})

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('a program run on a server', () => {
  test('gives its output, its result and its artifacts, and leaves nothing of a stack here', async () => {
    const data = away.file('numbers.csv', 'x\n1\n2\n3\n')
    const program = `
import json, os, sys
import numpy as np, matplotlib.pyplot as plt
x = np.loadtxt(os.environ["ERGON_INPUT_DIR"] + "/numbers.csv", skiprows=1)
print("sum", x.sum()); print("warned", file=sys.stderr)
json.dump({"mean": x.mean(), "big": 12345678901234567890}, open(os.environ["ERGON_RESULT"], "w"))
plt.plot(x); plt.savefig(os.environ["ERGON_OUTPUT_DIR"] + "/plot.png")
`
    const { code, result } = await away.runProgram(program, '--dataset', `numbers.csv=${data}`)
    expect({ code, status: result.status, error: result.error }).toEqual({ code: 0, status: 'SUCCEEDED' })
    expect(result.outputs).toMatchObject({ stdout: 'sum 6.0\n', stderr: 'warned\n' })

    const shown = await away.run('jobs', 'show', result.job_id, '--json')
    expect(shown.stdout).toContain('"big":12345678901234567890')
    const shownThere = await home.run('jobs', 'show', result.job_id, '--json')
    expect(JSON.parse(shown.stdout)).toEqual(JSON.parse(shownThere.stdout))
    expect(await away.run('jobs', 'logs', result.job_id)).toEqual(await home.run('jobs', 'logs', result.job_id))
    const followed = await away.run(
      'jobs',
      'logs',
      `executor_${result.job_id}`,
      '--follow',
      '--stream',
      'stdout',
      '--offset',
      '4',
    )
    expect(followed).toEqual({ code: 0, stdout: '6.0\n', stderr: '' })

    const listed = await away.run('artifacts', 'list', '--job', result.job_id, '--json')
    expect(JSON.parse(listed.stdout)).toEqual(result.artifacts)
    const out = path.join(away.folder, 'plot.png')
    expect((await away.run('artifacts', 'get', result.artifacts[0]?.artifact_id ?? '', '--out', out)).code).toBe(0)
    expect(readFileSync(out)).toHaveLength(result.artifacts[0]?.size_bytes ?? -1)
    expect(readdirSync(away.folder).filter((name) => !/^program-|^numbers\.csv$|^plot\.png$/.test(name))).toEqual([])
  })

  test('is told as text, with where its artifacts can be had', async () => {
    const file = away.file(
      'told.py',
      'import os\nopen(os.environ["ERGON_OUTPUT_DIR"] + "/a b.txt", "w").write("x")\nprint("hi")\n',
    )
    const { code, stdout, stderr } = await away.run('run', file)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^hi\n/)
    expect(stdout).toContain('SUCCEEDED')
    // Not the name that the job chose: a shell would take it apart.
    expect(stdout).toMatch(/fetch {3}ergon artifacts get [0-9a-f-]{36} --out FILE\n/)
  })

  test('that fails ends with 1, and one of an environment that is not there with 2', async () => {
    const failed = await away.runProgram('raise ValueError("no")')
    expect({ code: failed.code, error: failed.result.error?.code }).toMatchObject({ code: 1 })
    expect(failed.result.error?.message).toContain('no')
    const { code, stderr } = await away.run('run', away.file('x.py', 'print(1)'), '--env', 'python-scy')
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('did you mean "python-sci"?') })
  })

  test('is followed over the death of the API, without losing or repeating a line', async () => {
    const lines = 60
    const file = away.file(
      'slow.py',
      `import os, time\nfor n in range(${lines}):\n    print(n, flush=True)\n    time.sleep(0.1)\n`,
    )
    const child = away.spawn(['run', file])
    const closed = once(child, 'close')
    const said: string[] = []
    const reading = createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => said.push(line))
    await once(reading, 'line')
    const [api] = findProcesses(home.folder, /api-process\.js/)
    process.kill(api?.pid ?? Number.NaN, 'SIGKILL')
    await closed
    expect(said.filter((line) => /^\d+$/.test(line))).toEqual(Array.from({ length: lines }, (_, n) => String(n)))
    expect(child.exitCode).toBe(0)
  })
})

test('services are those of the server, and can be called', async () => {
  const listed = await away.run('services', 'list')
  expect(listed.stdout).toMatch(/^statistics +computation +analytics +sandbox +yes +fit_line$/m)
  const schemas = await away.run('services', 'schema', 'statistics.fit_line', '--json')
  expect(schemas).toEqual(await home.run('services', 'schema', 'statistics.fit_line', '--json'))
  const input = JSON.stringify({
    parameters: {
      points: [
        [0, 1],
        [1, 3],
        [2, 5],
      ],
    },
  })
  const called = await away.run('call', 'statistics.fit_line', '--input', input, '--json')
  expect({ code: called.code, result: JSON.parse(called.stdout) }).toMatchObject({
    code: 0,
    result: { status: 'SUCCEEDED' },
  })
  const wrong = await away.run('call', 'statistics.fit_line', '--input', '{}')
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('INPUT_INVALID') })
})

test('a job is cancelled from afar', async () => {
  const file = away.file('long.py', 'import time\nprint("up", flush=True)\ntime.sleep(110)\n')
  const child = away.spawn(['run', file, '--timeout', '110'])
  const closed = once(child, 'close')
  await once(createInterface({ input: child.stdout ?? process.stdin }), 'line')
  const running = JSON.parse((await away.run('jobs', 'list', '--status', 'running', '--json')).stdout) as {
    id: string
  }[]
  expect(running).toHaveLength(1)
  expect((await away.run('jobs', 'cancel', running[0]?.id ?? '')).code).toBe(0)
  await closed
  expect(child.exitCode).toBe(1)
})

test.each([
  ['what works here alone', ['migrate'], {}, 'OWN_STACK_NEEDED'],
  [
    'a token of nobody',
    ['jobs', 'list'],
    { ERGON_TOKEN: `ergon_${'0'.repeat(32)}_${'A'.repeat(43)}` },
    'TOKEN_INVALID',
  ],
])('%s is refused, and the token is not told', async (_what, args, env, code) => {
  const other = new ErgonHome({ ...away.env, ...env })
  const ended = await other.run(...args)
  await other.remove()
  expect(ended).toEqual({ code: 2, stdout: '', stderr: expect.stringContaining(code) })
  for (const secret of [token, other.env['ERGON_TOKEN'] ?? '']) expect(ended.stderr).not.toContain(secret.slice(-43))
})

test('the program of the documentation runs', () => {
  const folder = mkdtempSync(path.join(away.folder, 'example-'))
  mkdirSync(path.join(folder, 'node_modules/@ergon'), { recursive: true })
  symlinkSync(client, path.join(folder, 'node_modules/@ergon/client'))
  writeFileSync(path.join(folder, 'example.mjs'), documentedFile('example.mjs'))
  const env = { PATH: process.env['PATH'] ?? '', ERGON_URL: url, ERGON_TOKEN: token }
  const said = execFileSync(process.execPath, ['example.mjs'], { cwd: folder, env, encoding: 'utf8' })
  expect(said).toBe('mean 3.0\nSUCCEEDED \nwrote numbers.png\n')
  expect(existsSync(path.join(folder, 'numbers.png'))).toBe(true)
})

test('the page of the documentation runs Python from another origin, in a real browser', async () => {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium-headless-shell',
    // As root Chromium does not start with its own sandbox, and the suite runs as root.
    chromiumSandbox: process.getuid?.() !== 0,
  })
  try {
    const page = await browser.newPage()
    await page.goto(originOf(site))
    await page.fill('[name=url]', url)
    await page.fill('[name=token]', token)
    await page.fill(
      '[name=code]',
      'import os, matplotlib.pyplot as plt\nprint("from the page")\nplt.plot([1, 2])\nplt.savefig(os.environ["ERGON_OUTPUT_DIR"] + "/p.png")\n',
    )
    await page.click('button')
    await page.waitForFunction(`document.querySelector('pre').textContent.includes('SUCCEEDED')`)
    expect(await page.textContent('pre')).toBe('from the page\n\nSUCCEEDED')
    expect(
      await page.evaluate(
        `document.querySelector('img').decode().then(() => document.querySelector('img').naturalWidth)`,
      ),
    ).toBe(640)
  } finally {
    await browser.close()
  }
})
