import { execFile, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ProcessSpool } from './process-spool.ts'

const HOUR_MS = 3_600_000

let root = ''
let spool: ProcessSpool
const errors: unknown[] = []
beforeEach(async () => {
  errors.length = 0
  root = await mkdtemp(path.join(os.tmpdir(), 'ergon-spool-'))
  spool = new ProcessSpool(root, { onError: (error) => errors.push(error) })
})
afterEach(async () => {
  await spool.stop()
  await rm(root, { recursive: true })
})

/** The name that this process's folder would have had, had it had another pid. */
const withPid = (pid: number) => path.basename(spool.folder).replace(/-\d+-.*/, `-${pid}-${randomUUID()}`)
/** One that ended and was waited for: no process has its pid. */
const deadPid = () => spawnSync('true').pid

/** Another process's folder with an upload in it. */
async function leave(name: string, untouchedMs: number): Promise<string> {
  await mkdir(path.join(root, name, 'upload'), { recursive: true })
  await writeFile(path.join(root, name, 'upload/0'), 'hostile')
  const at = new Date(Date.now() - untouchedMs)
  await utimes(path.join(root, name), at, at)
  return name
}

async function left(): Promise<string[]> {
  const own = path.basename(spool.folder)
  return (await readdir(root)).filter((name) => name !== own)
}

describe('ProcessSpool', () => {
  it('has a folder from start to stop, with nothing in it', async () => {
    await spool.start()
    expect(await readdir(spool.folder)).toEqual([])
    await spool.stop()
    expect(existsSync(spool.folder)).toBe(false)
    expect(errors).toEqual([])
  })

  it('removes at once what a dead process of this host left, and nothing of one that lives', async () => {
    await leave(withPid(deadPid()), 0)
    const living = await leave(withPid(process.ppid), 0)
    await spool.start()
    expect(await left()).toEqual([living])
  })

  it('keeps a folder of another host whatever its pid is here, until it was left alone for an hour', async () => {
    const elsewhere = (pid: number) => `0123456789abcdef-${pid}-${randomUUID()}`
    const kept = [await leave(elsewhere(deadPid()), 0.9 * HOUR_MS), await leave(elsewhere(process.pid), 0)]
    await leave(elsewhere(deadPid()), 1.1 * HOUR_MS)
    await leave(elsewhere(process.pid), 1.1 * HOUR_MS)
    await spool.start()
    expect((await left()).toSorted()).toEqual(kept.toSorted())
  })

  it('removes a folder of a living pid of this host after an hour: another process has that pid now', async () => {
    await leave(withPid(process.ppid), 1.1 * HOUR_MS)
    await spool.start()
    expect(await left()).toEqual([])
  })

  it('removes folders of earlier versions, and what is nobody’s, when they were left alone for a day', async () => {
    const living = await leave(`${process.ppid}-${randomUUID()}`, 30 * HOUR_MS)
    const young = await leave(`${deadPid()}-${randomUUID()}`, 20 * HOUR_MS)
    await leave(`${deadPid()}-${randomUUID()}`, 30 * HOUR_MS)
    await leave('lost+found', 30 * HOUR_MS)
    await spool.start()
    expect((await left()).toSorted()).toEqual([living, young].toSorted())
  })

  it('says so where the spool cannot be used', async () => {
    const missing = new ProcessSpool(path.join(root, 'file', 'spool'), { onError: () => {} })
    await writeFile(path.join(root, 'file'), '')
    await expect(missing.start()).rejects.toThrow('ENOTDIR')
  })
})

describe.runIf(process.getuid?.() === 0)('processes of another pid namespace', () => {
  /** Starts a spool, says what its folder is, and leaves without a word. */
  const PROGRAM = `
    const { ProcessSpool } = await import(process.argv[1])
    const spool = new ProcessSpool(process.argv[2], { onError() {} })
    await spool.start()
    console.log(process.pid, spool.folder)
    process.exit(0)`
  const file = path.join(import.meta.dirname, 'process-spool.ts')
  /** What it says when it runs so many times one after the other, in one namespace of its own. */
  async function runElsewhere(times: number): Promise<{ pid: string; folder: string }[]> {
    const script = 'for n in $(seq "$1"); do "$2" --input-type=module -e "$3" "$4" "$5"; done'
    const args = ['--pid', '--fork', 'sh', '-c', script, 'sh', String(times), process.execPath, PROGRAM, file, root]
    const { stdout } = await promisify(execFile)('unshare', args)
    return [...stdout.matchAll(/^(\d+) (.+)$/gm)].map(([, pid = '', folder = '']) => ({ pid, folder }))
  }

  it('neither lose their uploads to us nor take ours, though none sees the other', async () => {
    await spool.start()
    await writeFile(path.join(spool.folder, 'upload'), 'on its way')
    const [first, second] = await runElsewhere(2)
    expect(await readdir(spool.folder)).toEqual(['upload'])
    // The second one could ask whether the first lives, nobody here can, whatever has that pid here.
    expect(Number(first?.pid)).toBeLessThan(100)
    expect(existsSync(first?.folder ?? '')).toBe(false)
    const third = new ProcessSpool(root, { onError: (error) => errors.push(error) })
    await third.start()
    await third.stop()
    expect(await left()).toEqual([path.basename(second?.folder ?? '')])
    expect(errors).toEqual([])
  })
})
