import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import {
  chmod,
  chown,
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FilesystemArtifactStore } from './filesystem-store.ts'

const WORKER_UID = 65_534
const digest = `sha256:${createHash('sha256').update('data').digest('hex')}`

let folder = ''
let source = ''
let store: FilesystemArtifactStore
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-store-'))
  await chmod(folder, 0o711)
  source = path.join(folder, 'source')
  await writeFile(source, 'data', { mode: 0o600 })
  await mkdir(path.join(folder, 'artifacts'), { mode: 0o700 })
  store = new FilesystemArtifactStore(path.join(folder, 'artifacts'))
})
afterEach(() => rm(folder, { recursive: true }))

async function leftovers(): Promise<string[]> {
  const names = await readdir(folder, { recursive: true })
  return names.filter((name) => name.endsWith('.tmp'))
}

describe('FilesystemArtifactStore', () => {
  it('stores a file once, read-only, under its digest', async () => {
    await store.put(source, digest)
    await store.put(source, digest)
    expect(await store.size(digest)).toBe(4)
    expect((await stat(store.pathOf(digest))).mode & 0o777).toBe(0o444)
    expect(await leftovers()).toEqual([])
  })

  it('gives back what was stored, and says so when it is not that any more', async () => {
    await store.put(source, digest)
    const read = async () => Buffer.concat(await (await store.read(digest)).toArray())
    expect(String(await read())).toBe('data')
    await chmod(store.pathOf(digest), 0o644)
    await writeFile(store.pathOf(digest), 'DATA')
    await expect(read()).rejects.toMatchObject({ code: 'ARTIFACT_CORRUPT', message: expect.stringContaining(digest) })
  })

  it('gives a range of what was stored, and never the end of a range of something else', async () => {
    await store.put(source, digest)
    const read = async (start: number, end: number) => {
      const chunks: Buffer[] = []
      const bytes: AsyncIterable<Buffer> = await store.read(digest, { start, end })
      const whole = (async () => {
        for await (const chunk of bytes) chunks.push(chunk)
      })()
      const error: unknown = await whole.then(
        () => null,
        (thrown: unknown) => thrown,
      )
      return { text: String(Buffer.concat(chunks)), error }
    }
    expect(await read(1, 2)).toEqual({ text: 'at', error: null })
    expect(await read(3, 100)).toEqual({ text: 'a', error: null })
    expect(await read(0, 0)).toEqual({ text: 'd', error: null })
    await chmod(store.pathOf(digest), 0o644)
    await writeFile(store.pathOf(digest), 'datA')
    expect(await read(0, 1)).toMatchObject({ text: '', error: { code: 'ARTIFACT_CORRUPT' } })
  })

  it('refuses to read what is not a regular file', async () => {
    await mkdir(path.dirname(store.pathOf(digest)), { recursive: true })
    execFileSync('mkfifo', [store.pathOf(digest)])
    await expect(store.read(digest)).rejects.toMatchObject({ code: 'ARTIFACT_NOT_FOUND' })
  })
})

describe('what is stored', () => {
  /** Every fsync that is made meanwhile: of which file, and whether the artifact had its name then. */
  async function watchSyncs(work: () => Promise<void>): Promise<{ file: string; isNamed: boolean }[]> {
    const handle = await open(folder)
    const prototype: FileHandle = Object.getPrototypeOf(handle)
    await handle.close()
    const sync = Object.getOwnPropertyDescriptor(prototype, 'sync')
    const seen: { file: string; isNamed: boolean }[] = []
    Object.defineProperty(prototype, 'sync', {
      configurable: true,
      async value(this: FileHandle) {
        const file = path.relative(folder, await readlink(`/proc/self/fd/${this.fd}`))
        seen.push({ file, isNamed: existsSync(store.pathOf(digest)) })
        await Reflect.apply(sync?.value, this, [])
      },
    })
    try {
      await work()
    } finally {
      if (sync !== undefined) Object.defineProperty(prototype, 'sync', sync)
    }
    return seen
  }
  const hex = digest.slice('sha256:'.length)
  const inFolder = `artifacts/sha256/${hex.slice(0, 2)}`
  const names = { file: inFolder, isNamed: true }
  const everyName = [names, { file: 'artifacts/sha256', isNamed: true }, { file: 'artifacts', isNamed: true }]

  it('is on the disk before it has its name, and so is its name before it is told', async () => {
    const [bytes, ...rest] = await watchSyncs(() => store.put(source, digest))
    expect(bytes?.isNamed).toBe(false)
    expect(bytes?.file).toMatch(new RegExp(`^${inFolder}/${hex}\\..+\\.tmp$`))
    expect(rest).toEqual(everyName)
  })

  it('has its name on the disk also when another process has stored it, and the folders but once', async () => {
    await new FilesystemArtifactStore(path.join(folder, 'artifacts')).put(source, digest)
    expect(await watchSyncs(() => store.put(source, digest))).toEqual(everyName)
    expect(await watchSyncs(() => store.put(source, digest))).toEqual([names])
  })
})

describe.runIf(process.getuid?.() === 0)('root in the store of a worker', () => {
  beforeEach(() => chown(path.join(folder, 'artifacts'), WORKER_UID, WORKER_UID))

  it("stores a file as the worker's, though the worker cannot read its source", async () => {
    await store.put(source, digest)
    expect(await readFile(store.pathOf(digest), 'utf8')).toBe('data')
    const { uid, mode } = await stat(store.pathOf(digest))
    expect([uid, mode & 0o777]).toEqual([WORKER_UID, 0o444])
    expect((await stat(path.dirname(store.pathOf(digest)))).uid).toBe(WORKER_UID)
    expect(await leftovers()).toEqual([])
  })

  it('writes nothing, and gives nothing away, where a link of the worker leads', async () => {
    const elsewhere = path.join(folder, 'elsewhere')
    await mkdir(elsewhere, { mode: 0o755 })
    await symlink(elsewhere, path.join(folder, 'artifacts/sha256'))
    await expect(store.put(source, digest)).rejects.toThrow('Permission denied')
    expect(await readdir(elsewhere)).toEqual([])
    expect((await stat(elsewhere)).uid).toBe(0)
  })
})
