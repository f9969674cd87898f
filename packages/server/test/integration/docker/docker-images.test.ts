import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { findFreePort } from '../../../src/testing/find-free-port.ts'
import { TestEngine } from '../../../src/testing/docker-engine.ts'
import { DockerBench, type RunOptions, sh } from './docker-fixture.ts'

const LOGIN = { username: 'reader', password: 'not-for-everybody' }
/** The password as bcrypt has it. */
const HASH = '$2y$05$abcdefghijklmnopqrstuuiESjhV0E91QjdBVZk.ipY7Jz7cKCK4G'

/** Debian's docker-registry with one user, and images by name. */
class TestRegistry {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'ergon-registry-'))
  host = ''
  #process: ChildProcess | null = null

  async start(): Promise<void> {
    this.host = `127.0.0.1:${await findFreePort()}`
    writeFileSync(path.join(this.folder, 'users'), `reader:${HASH}\n`)
    const config = {
      version: 0.1,
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: path.join(this.folder, 'data') } },
      http: { addr: this.host },
      auth: { htpasswd: { realm: 'test', path: path.join(this.folder, 'users') } },
    }
    writeFileSync(path.join(this.folder, 'config.yml'), JSON.stringify(config))
    this.#process = spawn('docker-registry', ['serve', path.join(this.folder, 'config.yml')], { stdio: 'ignore' })
    const asked = () => fetch(`http://${this.host}/v2/`).then(({ status }) => status)
    await vi.waitFor(async () => expect(await asked()).toBe(401), { timeout: 10_000 })
  }

  async stop(): Promise<void> {
    const child = this.#process
    if (child !== null && child.exitCode === null) {
      child.kill()
      await once(child, 'exit')
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}

let engine: TestEngine
let bench: DockerBench
const registry = new TestRegistry()
beforeAll(async () => {
  engine = await TestEngine.start()
  await registry.start()
  bench = new DockerBench(engine)
})
afterAll(async () => {
  bench?.remove()
  await Promise.all([engine?.stop(), registry.stop()])
})

/** Pushes what busybox says when it is asked, and forgets it here; gives the digest of its manifest. */
async function push(name: string, says: string): Promise<string> {
  const reference = `${registry.host}/${name}`
  await engine.importBusybox('made:1', [`ENV SAYS=${says}`])
  await engine.api.getImage('made:1').tag({ repo: reference, tag: '1' })
  const stream = await engine.api
    .getImage(`${reference}:1`)
    .push({ authconfig: { ...LOGIN, serveraddress: registry.host } })
  const steps = await new Promise<{ aux?: { Digest?: string } }[]>((resolve, reject) =>
    engine.api.modem.followProgress(stream, (error, all: { aux?: { Digest?: string } }[]) =>
      error === null ? resolve(all) : reject(error),
    ),
  )
  for (const each of [`${reference}:1`, 'made:1']) await engine.api.getImage(each).remove({ force: true })
  return steps.flatMap(({ aux }) => aux?.Digest ?? []).join()
}

const auth = { registry_auth: { username_env_var: 'REGISTRY_USER', password_env_var: 'REGISTRY_PASSWORD' } }
const variables = { REGISTRY_USER: LOGIN.username, REGISTRY_PASSWORD: LOGIN.password }
const run = (image: string, config: Record<string, unknown>, more: RunOptions = {}) =>
  bench.run({ config: { image, ...sh('echo $SAYS'), ...config }, variables, ...more })

describe('an image of a registry', () => {
  it('is pulled with the login that the registry file names, when it is missing or always', async () => {
    await push('app', 'first')
    const image = `${registry.host}/app:1`
    expect(await run(image, { pull_policy: 'never' })).toMatchObject({ end: 'DEPENDENCY_ERROR/IMAGE_MISSING' })
    const open = await run(image, { pull_policy: 'missing' })
    expect(open).toMatchObject({ end: 'DEPENDENCY_ERROR/UPSTREAM_IMAGE_PULL' })
    const wrong = await run(
      image,
      { pull_policy: 'missing', ...auth },
      { variables: { ...variables, REGISTRY_PASSWORD: 'wrong-password' } },
    )
    expect(wrong).toMatchObject({ end: 'DEPENDENCY_ERROR/UPSTREAM_IMAGE_PULL' })
    expect(wrong.message).not.toContain('wrong-password')
    expect(await run(image, { pull_policy: 'missing', ...auth })).toMatchObject({ end: 'SUCCEEDED', stdout: 'first\n' })

    await engine.api.getImage(image).tag({ repo: 'kept', tag: '1' })
    await push('app', 'second')
    await engine.api.getImage('kept:1').tag({ repo: `${registry.host}/app`, tag: '1' })
    expect(await run(image, { pull_policy: 'missing', ...auth })).toMatchObject({ stdout: 'first\n' })
    expect(await run(image, { pull_policy: 'always', ...auth })).toMatchObject({ stdout: 'second\n' })
  })

  it('is the one that its digest pins, whatever its tag has become', async () => {
    const first = await push('pinned', 'first')
    const image = `${registry.host}/pinned:1@${first}`
    expect(await run(image, { pull_policy: 'missing', ...auth })).toMatchObject({ end: 'SUCCEEDED', stdout: 'first\n' })
    const second = await push('pinned', 'second')
    expect(second).not.toBe(first)
    expect(await run(image, { pull_policy: 'always', ...auth })).toMatchObject({ end: 'SUCCEEDED', stdout: 'first\n' })
  })

  it('is not pulled for ever: a job that is cancelled meanwhile ends', async () => {
    const stop = new AbortController()
    setTimeout(() => stop.abort(), 200)
    // A port where somebody listens and says nothing.
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const address = silent.address()
    const port = address === null || typeof address === 'string' ? 0 : address.port
    const ran = await run(`127.0.0.1:${port}/app:1`, { pull_policy: 'missing' }, { signal: stop.signal })
    expect(ran.end).toBe('CANCELLED')
    silent.close()
  })
})

describe('row 51: an image that is not the pinned one', () => {
  it('never starts', async () => {
    const id = await engine.importBusybox('local/tool:1', ['ENV SAYS=meant'])
    // Never in a registry, so its id is its digest.
    expect(await run(`local/tool:1@${id}`, { pull_policy: 'never' })).toMatchObject({
      end: 'SUCCEEDED',
      stdout: 'meant\n',
    })
    const other = await engine.importBusybox('local/tool:1', ['ENV SAYS=other'])
    expect(other).not.toBe(id)
    expect(await run(`local/tool:1@${id}`, { pull_policy: 'never' })).toMatchObject({ stdout: 'meant\n' })
    await engine.api.getImage(id).remove({ force: true })
    const ran = await run(`local/tool:1@${id}`, { pull_policy: 'never' })
    expect(ran).toMatchObject({ end: 'VALIDATION_ERROR/IMAGE_DIGEST_MISMATCH', stdout: '' })
    expect(ran.message).toContain(other)
    expect(await engine.leftovers()).toEqual([])
  })
})
