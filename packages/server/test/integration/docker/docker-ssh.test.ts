import path from 'node:path'
import ssh2 from 'ssh2'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EngineConfig } from '../../../src/runners/docker/engine-config.ts'
import { TestEngine } from '../../../src/testing/docker-engine.ts'
import { DockerBench, sh } from './docker-fixture.ts'
import { TestSshServer } from './ssh-server.ts'

let engine: TestEngine
const server = new TestSshServer()
const benches: DockerBench[] = []
beforeAll(async () => {
  engine = await TestEngine.start()
  await engine.importBusybox('test/busybox:1')
  server.env['DOCKER_HOST'] = engine.url
  await server.start()
})
afterAll(async () => {
  for (const bench of benches) {
    bench.engine.close()
    bench.remove()
  }
  await Promise.all([server.stop(), engine?.stop()])
})

function benchOver(change: Partial<NonNullable<EngineConfig['ssh']>> = {}): DockerBench {
  const ssh = { privateKey: server.privateKey, knownHosts: server.knownHosts, ...change }
  const bench = new DockerBench({ url: server.url }, { ssh })
  benches.push(bench)
  return bench
}

describe('an engine at another place, by SSH', () => {
  it('runs jobs, with input, output and files', async () => {
    const ran = await benchOver().run({
      config: sh('cat; cp $ERGON_INPUT $ERGON_OUTPUT_DIR/a.txt'),
      policy: { formats: ['txt'] },
      input: { a: 1 },
    })
    expect(ran).toMatchObject({ end: 'SUCCEEDED', stdout: '{"a":1}', artifacts: [{ name: 'a.txt' }] })
    expect(await engine.leftovers()).toEqual([])
  })

  it('takes more requests at once than one connection has channels for, and uses channels again', async () => {
    const { engine: behindSsh } = benchOver()
    const before = server.connections
    const ask = () => Promise.all(Array.from({ length: 9 }, () => behindSsh.api.ping()))
    await ask()
    await ask()
    expect(server.connections - before).toBe(2)
  })

  it('stops a job there that is cancelled here', async () => {
    const stop = new AbortController()
    const ran = await benchOver().run({
      config: sh('trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.1; done'),
      signal: stop.signal,
      onOutput: (text) => text.includes('up') && stop.abort(),
    })
    expect(ran).toMatchObject({ end: 'CANCELLED', stdout: 'up\nbye\n' })
    expect(await engine.leftovers()).toEqual([])
  })

  it('mounts no folder of this machine', async () => {
    const ran = await benchOver().run({
      config: { ...sh('true'), volumes: [{ host_path: '/tmp', container_path: '/data' }] },
      policy: { volume_restrictions: { allowed_host_paths: ['/tmp'] } },
    })
    expect(ran).toMatchObject({ end: 'VALIDATION_ERROR/VOLUME_REFUSED' })
  })

  it('is not signed in to where its host has another key', async () => {
    const [, other = ''] = ssh2.utils.generateKeyPairSync('ed25519').public.split(' ')
    const ran = await benchOver({ knownHosts: `[127.0.0.1]:${server.port} ssh-ed25519 ${other}\n` }).run()
    expect(ran).toMatchObject({ end: 'INTERNAL_ERROR/ENGINE_UNREACHABLE' })
    expect(ran.message).toMatch(/the host is not who the known_hosts file says: its key is SHA256:[\w+/]{43}$/)
  })

  it.each([
    ['whose key is not known', { knownHosts: '' }, /no key of 127\.0\.0\.1 port \d+ is in the known_hosts file/],
    [
      'that does not know us',
      { privateKey: ssh2.utils.generateKeyPairSync('ed25519').private },
      /All configured authentication methods failed/,
    ],
  ])('is none at a host %s', async (_name, change, says) => {
    const ran = await benchOver(change).run()
    expect(ran).toMatchObject({
      end: 'INTERNAL_ERROR/ENGINE_UNREACHABLE',
      message: expect.stringMatching(says) as unknown,
    })
  })

  it('is told to be away with the words of the far side', async () => {
    server.env['DOCKER_HOST'] = `unix://${path.join(server.folder, 'none.sock')}`
    const bench = benchOver()
    const ran = await bench.run()
    server.env['DOCKER_HOST'] = engine.url
    expect(ran).toMatchObject({ end: 'INTERNAL_ERROR/ENGINE_UNREACHABLE' })
    expect(ran.message).toContain('none.sock')
    // And used as soon as it is there.
    bench.engine.close()
    expect(await bench.run({ config: sh('echo there') })).toMatchObject({ stdout: 'there\n' })
  })
})
