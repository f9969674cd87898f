import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AttackMatrix } from '../../src/app/attack-matrix.ts'
import { loadSettings } from '../../src/config/load-settings.ts'
import type { HostileCase } from '../../src/conformance/hostile-case.ts'
import { findProcesses } from '../../src/conformance/leftovers.ts'
import { ErgonHome } from './ergon.ts'

const FINE: HostileCase = { row: 0, name: 'fine', program: 'pass', verdicts: ['SUCCEEDED'], counter: null }

/** Where the matrices of this file make their data folders: others on this machine make theirs elsewhere. */
const home = new ErgonHome()
const place = path.join(home.folder, 't')
mkdirSync(place, { mode: 0o711 })
const TMPDIR = process.env['TMPDIR']
beforeAll(() => {
  process.env['TMPDIR'] = place
})
afterAll(async () => {
  if (TMPDIR === undefined) delete process.env['TMPDIR']
  else process.env['TMPDIR'] = TMPDIR
  await home.remove()
})

function killWorker(): void {
  const worker = findProcesses(place, /worker-process\.js/).at(-1)
  expect(worker).toBeDefined()
  process.kill(worker?.pid ?? 0, 'SIGKILL')
}

/** Starts the command on several programs and does something when the first has ended. */
async function runAndThen(act: (child: ChildProcess) => void): Promise<{ code: number | null; lines: string[] }> {
  const child = home.spawn(['doctor', '--attack-matrix', '--row', '47'], { TMPDIR: place })
  const ended = once(child, 'exit')
  const lines: string[] = []
  let hasActed = false
  for await (const line of createInterface({ input: child.stdout ?? process.stdin })) {
    lines.push(line)
    if (hasActed || !line.startsWith('✓')) continue
    act(child)
    hasActed = true
  }
  await ended
  return { code: child.exitCode, lines }
}

describe('the checks after each program notice', () => {
  const matrix = new AttackMatrix({ settings: loadSettings(process.env).settings, runtime: 'crun', isolation: 'fresh' })
  beforeAll(() => matrix.start())
  afterAll(() => matrix.stop())

  test('nothing after a harmless one', async () => {
    expect(await matrix.run(FINE)).toMatchObject({ outcome: 'met', verdict: 'SUCCEEDED', problems: [] })
  })

  test('a verdict that is not owed', async () => {
    const report = await matrix.run({ ...FINE, verdicts: ['RESOURCE_LIMIT/PIDS'], counter: 'pids' })
    expect(report).toMatchObject({ outcome: 'failed', problems: ['it ended as SUCCEEDED: no error'] })
  })

  test('a file of a sandbox in a folder of the host', async () => {
    const folder = mkdtempSync('/tmp/ergon-e2e-')
    try {
      chownSync(folder, (1 << 30) + 7, (1 << 30) + 7)
      const report = await matrix.run(FINE)
      expect(report.problems).toEqual([
        expect.stringMatching(/^files of a sandbox's owner on the host: \d+ instead of/),
      ])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('another worker, and only once', async () => {
    await matrix.run(FINE)
    killWorker()
    expect((await matrix.run(FINE)).problems).toContain('the worker is not the same any more')
    expect(await matrix.run(FINE)).toMatchObject({ outcome: 'met', problems: [] })
  })
})

describe('ergon doctor --attack-matrix', () => {
  test('prints one JSON object of the rows asked for', async () => {
    const { code, stdout } = await home.run('doctor', '--attack-matrix', '--row', '10', '51', '--json')
    expect(stdout).toMatch(/^[ -~]+\n$/)
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      summary: { met: 15, gaps: 0, failed: 0 },
      host: { runtime: expect.stringMatching(/^crun \d/), isolation: 'warm' },
      cases: [{ row: 10, outcome: 'met' }, ...Array.from({ length: 14 }, () => ({ row: 51, outcome: 'met' }))],
      left: [],
      notBuilt: [{ rows: [51], reason: 'not tried: no engine (ERGON_DOCKER_HOST)' }],
    })
    expect(code).toBe(0)
  })

  test('says so by its exit status when a row fails', async () => {
    const { code, lines } = await runAndThen(killWorker)
    expect(lines.join('\n')).toContain('the worker is not the same any more')
    expect(lines.at(-1)).toMatch(/ 1 failed$/)
    expect(code).toBe(3)
    expect(readdirSync(place)).toEqual([])
  })

  test('leaves nothing when it is interrupted', async () => {
    const { code, lines } = await runAndThen((child) => child.kill('SIGINT'))
    expect(lines.filter((line) => line.startsWith('✓')).length).toBeLessThan(4)
    expect(code).toBe(130)
    expect(readdirSync(place)).toEqual([])
  })

  test.each([
    [['--row', '1'], /--row: only with --attack-matrix/],
    [['--attack-matrix', '--row', '99'], /has no row 99; its rows are 1, 2/],
    [['--attack-matrix', '--row', 'x'], /--row is "x"/],
    [['--attack-matrix', '--runtime', 'docker'], /Allowed choices are crun/],
    [['--attack-matrix', '--json', '--markdown'], /one of --markdown and --json/],
  ])('refuses %j', async (options, message) => {
    const { code, stdout, stderr } = await home.run('doctor', ...options)
    expect(stdout + stderr).toMatch(message)
    expect(code).toBe(2)
  })
})
