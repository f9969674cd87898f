import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { findProcesses, leftoversAfter } from './leftovers.ts'

/** Lines that sanitising changes, of more than one byte a character, for ten seconds: on a busy machine a command that
 * follows them takes some of those to come up. */
const TALKS = `
import os, sys, time
for n in range(100):
  os.write(1, f"{n} é€𝄞 ".encode() + b"\\x1b[0m\\xff\\n")
  if n % 10 == 0: os.write(2, b"%d\\n" % n)
  time.sleep(0.1)
`

const pieceSchema = z.object({ attempt: z.number(), stream: z.string(), offset: z.number(), text: z.string() })
type Piece = z.infer<typeof pieceSchema>

let home: ErgonHome
let application: Application
let dev: ChildProcess

beforeEach(async () => {
  home = new ErgonHome({ ERGON_EXECUTOR_POLICY: '{"on_output_limit":"truncate"}' })
  await startDev()
})
afterEach(async () => {
  await home.remove()
  expect(await leftoversAfter(home, 10_000)).toEqual([])
})

async function startDev(): Promise<void> {
  const { child, line } = await home.start('dev')
  dev = child
  application = new Application(await home.connect(databaseUrlOf(line)))
}

/** `ergon jobs logs --follow --json` and the pieces it has printed so far. */
function follow(id: string, ...options: string[]) {
  const child = home.spawn(['jobs', 'logs', id, '--follow', '--json', ...options])
  const pieces: Piece[] = []
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')))
  createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => {
    const piece = pieceSchema.safeParse(JSON.parse(line))
    if (piece.success) pieces.push(piece.data)
  })
  const ended = once(child, 'close').then(([code]) => ({ code: Number(code), stderr }))
  return { child, pieces, ended }
}

/** The text of the pieces from the last one that begins a run; every piece must begin where the one before it ended. */
function lastRun(pieces: readonly Piece[], stream: string): string {
  let text = ''
  for (const piece of pieces.filter((each) => each.stream === stream)) {
    if (piece.offset === 0) text = ''
    expect(piece.offset).toBe(Buffer.byteLength(text))
    text += piece.text
  }
  return text
}

async function untilPieces(pieces: readonly Piece[], count: number): Promise<void> {
  await application.until(async () => pieces.length >= count)
}

test('whoever follows and is killed goes on at the last byte, live and when all is over', async () => {
  const id = await application.insert({}, TALKS)
  const first = follow(id, '--stream', 'stdout')
  await untilPieces(first.pieces, 4)
  first.child.kill('SIGKILL')
  await first.ended
  const begun = lastRun(first.pieces, 'stdout')
  const at = String(Buffer.byteLength(begun))
  expect(await application.read(id)).toMatchObject({ status: 'RUNNING' })

  const rest = await home.run('jobs', 'logs', id, '--follow', '--stream', 'stdout', '--attempt', '1', '--offset', at)
  const { outputs } = await application.untilEnded(id)
  expect(begun + rest.stdout).toBe(outputs.stdout)
  expect(outputs.stdout).toMatch(/^0 é€𝄞 ␛\[0m\uFFFD\n1 /)

  dev.kill('SIGTERM')
  await once(dev, 'exit')
  const later = await home.run('jobs', 'logs', id, '--stream', 'stdout', '--offset', at)
  expect(later.stdout).toBe(rest.stdout)
  const other = await home.run('jobs', 'logs', `test_${id}`, '--stream', 'stderr', '--offset', '2')
  expect(other.stdout + other.stderr).toBe(outputs.stderr?.slice(2))
})

test('a killed worker: whoever follows is told of the new attempt and gets all of it', async () => {
  const id = await application.insert({}, TALKS)
  const { pieces, ended } = follow(id)
  await untilPieces(pieces, 3)
  for (const { pid } of findProcesses(home.folder, /worker-process\.js/)) process.kill(pid, 'SIGKILL')
  const { outputs } = await application.untilEnded(id)
  expect(await ended).toMatchObject({ code: 0 })
  expect(new Set(pieces.map(({ attempt }) => attempt))).toEqual(new Set([1, 2]))
  expect(lastRun(pieces, 'stdout')).toBe(outputs.stdout)
  expect(lastRun(pieces, 'stderr')).toBe(outputs.stderr)
})

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'a stack that ends by %s and starts again: following goes on by itself',
  async (signal) => {
    const id = await application.insert({ limits: { timeout_ms: 60_000 } }, TALKS)
    const { pieces, ended } = follow(id, '--stream', 'stdout')
    await untilPieces(pieces, 3)
    dev.kill(signal)
    await once(dev, 'exit')
    await startDev()
    const { outputs } = await application.untilEnded(id)
    expect(await ended).toMatchObject({ code: 0 })
    expect(lastRun(pieces, 'stdout')).toBe(outputs.stdout)
  },
)

test('following what is not there, or from nowhere in particular, is refused', async () => {
  const id = await application.insert({}, 'pass\n')
  expect(await home.run('jobs', 'logs', 'nothing', '--follow')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('JOB_NOT_FOUND'),
  })
  expect(await home.run('jobs', 'logs', id, '--offset', '3')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--stream'),
  })
})

test('a job that writes 1 GiB costs the worker nothing', async () => {
  const memoryKb = () => {
    const [worker] = findProcesses(home.folder, /worker-process\.js/).slice(-1)
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${worker?.pid}/status`, 'utf8'))?.[1])
  }
  const flood = (blocks: number) => `import os\nblock = b"x" * 65536\nfor _ in range(${blocks}): os.write(1, block)\n`
  await application.runPayload({}, flood(64))
  const before = memoryKb()
  const id = await application.insert({ limits: { timeout_ms: 60_000, cpu_ms: 60_000 } }, flood(16_384))
  let most = before
  await application.until(async () => {
    most = Math.max(most, memoryKb())
    return !['PENDING', 'RUNNING'].includes((await application.read(id)).status)
  })
  const result = await application.untilEnded(id)
  expect(result, JSON.stringify(result.error)).toMatchObject({ status: 'SUCCEEDED' })
  expect(result.logs).toMatchObject([{ message: expect.stringContaining('limit 262144, observed 1073741824') }])
  expect(most).toBeLessThan(128 * 1024)
  expect(most - before).toBeLessThan(16 * 1024)
})
