import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage, request as requestFrom } from 'node:http'
import { createServer, type Server } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { findFreePort } from '../../../src/testing/find-free-port.ts'
import type { DockerConfig } from '../../../src/runners/docker/docker-config.ts'
import { OutputHolders } from '../../../src/runners/docker/output-holder.ts'
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

  /** Layers and configurations of all images; manifests stay. */
  loseBlobs(): void {
    const blobs = path.join(this.folder, 'data/docker/registry/v2/blobs')
    for (const name of readdirSync(blobs, { recursive: true, encoding: 'utf8' })) {
      const file = path.join(blobs, name)
      if (name.endsWith('/data') && !readFileSync(file).includes('schemaVersion')) rmSync(file)
    }
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

function portOf(server: Server): number {
  const address = server.address()
  return address === null || typeof address === 'string' ? 0 : address.port
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
    const ran = await run(`127.0.0.1:${portOf(silent)}/app:1`, { pull_policy: 'missing' }, { signal: stop.signal })
    expect(ran.end).toBe('CANCELLED')
    silent.close()
  })

  it('is pulled once for all who wait: one that is cancelled leaves it to the others, the last one ends it', async () => {
    await push('slow', 'first')
    // The registry, but for what is large: that never comes.
    const asked: IncomingMessage[] = []
    const slow = createHttpServer((request, response) => {
      const { url, method, headers } = request
      requestFrom(`http://${registry.host}${url}`, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        if (method === 'GET' && Number(answer.headers['content-length']) > 100_000) {
          response.flushHeaders()
          asked.push(request)
        } else answer.pipe(response)
      }).end()
    }).listen(0, '127.0.0.1')
    await once(slow, 'listening')
    const stops = [new AbortController(), new AbortController(), new AbortController()]
    const image = `127.0.0.1:${portOf(slow)}/slow:1`
    const start = (index: number) =>
      run(image, { pull_policy: 'missing', ...auth }, { signal: stops[index]?.signal ?? new AbortController().signal })
    const jobs = [start(0), start(1)]
    await vi.waitFor(() => expect(asked).toHaveLength(1), { timeout: 20_000 })
    stops[0]?.abort()
    expect((await jobs[0])?.end).toBe('CANCELLED')
    stops[1]?.abort()
    expect((await jobs[1])?.end).toBe('CANCELLED')
    // The engine has given it up too, else the next job would wait with it.
    const next = start(2)
    await vi.waitFor(() => expect(asked).toHaveLength(2), { timeout: 20_000 })
    stops[2]?.abort()
    expect((await next).end).toBe('CANCELLED')
    slow.close()
    slow.closeAllConnections()
  })

  it('is not run when "always" could not fetch it, though an older one is there', async () => {
    await push('broken', 'first')
    const image = `${registry.host}/broken:1`
    expect(await run(image, { pull_policy: 'missing', ...auth })).toMatchObject({ stdout: 'first\n' })
    await engine.api.getImage(image).tag({ repo: 'kept-too', tag: '1' })
    await push('broken', 'second')
    await engine.api.getImage('kept-too:1').tag({ repo: `${registry.host}/broken`, tag: '1' })
    // Its manifest is there, what it is made of is not: the engine finds out when it has begun.
    registry.loseBlobs()
    const ran = await run(image, { pull_policy: 'always', ...auth })
    expect(ran).toMatchObject({ end: 'DEPENDENCY_ERROR/UPSTREAM_IMAGE_PULL', stdout: '' })
  })
})

it('the keeper of an output folder has the architecture of the image that it is for', async () => {
  const holders = new OutputHolders(bench.engine)
  const owner = { instance: 'test', jobId: randomUUID(), attempt: 1, serviceName: 'box' }
  const config = { limits: { artifactBytes: 1 << 20, diskBytes: 1 << 20 }, user: { uid: 65_534, gid: 65_534 } }
  const images = []
  for (const architecture of ['amd64', 'arm64', 'amd64']) {
    const holder = await holders.create(config as DockerConfig, owner, architecture)
    images.push((await holder.inspect()).Image)
    await holder.remove({ v: true })
  }
  expect(images[0]).toBe(images[2])
  expect(images[1]).not.toBe(images[0])
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
