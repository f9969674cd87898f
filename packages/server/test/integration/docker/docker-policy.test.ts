import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { TestEngine } from '../../../src/testing/docker-engine.ts'
import { DockerBench, sh } from './docker-fixture.ts'

let engine: TestEngine
let bench: DockerBench
let place: string
beforeAll(async () => {
  engine = await TestEngine.start()
  await engine.importBusybox('test/busybox:1')
  place = mkdtempSync(path.join(tmpdir(), 'ergon-volumes-'))
  for (const folder of ['allowed/data', 'allowed-too', 'secret', 'home'])
    mkdirSync(path.join(place, folder), { recursive: true, mode: 0o755 })
  writeFileSync(path.join(place, 'allowed/data/a.txt'), 'of the host\n')
  writeFileSync(path.join(place, 'secret/key'), 'hidden\n')
  symlinkSync('../secret', path.join(place, 'allowed/link'))
  for (const folder of ['programs', 'keys']) mkdirSync(path.join(place, 'allowed', folder))
  for (const file of ['registry.yaml', 'programs/a.py', 'keys/token'])
    writeFileSync(path.join(place, 'allowed', file), 'of the registry\n')
  symlinkSync('/etc', path.join(place, 'allowed/etc'))
  symlinkSync('data', path.join(place, 'allowed/inside'))
  bench = new DockerBench(engine, { forbiddenPaths: [path.join(place, 'home')] })
})
afterAll(async () => {
  bench?.remove()
  rmSync(place, { recursive: true, force: true })
  await engine?.stop()
})
afterEach(async () => {
  expect(await engine.leftovers()).toEqual([])
})

const volume = (hostPath: string, more: Record<string, unknown> = {}) => ({
  ...sh('cat /data/*; touch /data/x && echo wrote'),
  volumes: [{ host_path: hostPath, container_path: '/data', ...more }],
})
const allowing = (...roots: string[]) => ({ volume_restrictions: { allowed_host_paths: roots } })

describe('a volume', () => {
  it('shows the real folder, read-only unless it is said', async () => {
    for (const name of ['data', 'inside']) {
      const ran = await bench.run({
        config: volume(path.join(place, 'allowed', name)),
        policy: allowing(path.join(place, 'allowed')),
      })
      expect(ran).toMatchObject({ stdout: 'of the host\n', stderr: expect.stringContaining('Read-only') as unknown })
    }
  })

  it.each([
    ['a link to a place that is not allowed', 'allowed/link', 'is really'],
    ['a link to /etc', 'allowed/etc', 'is really /etc'],
    ['a folder that is not there', 'allowed/none', 'ENOENT'],
  ])('is refused: %s', async (_name, name, says) => {
    const ran = await bench.run({
      config: volume(path.join(place, name)),
      policy: allowing(path.join(place, 'allowed')),
    })
    expect(ran).toMatchObject({ end: 'VALIDATION_ERROR/VOLUME_REFUSED', stdout: '' })
    expect(ran.message).toContain(says)
  })

  it('is refused when a link took its place since the registry was read', async () => {
    const [folder, aside] = [path.join(place, 'allowed/swapped'), path.join(place, 'allowed/aside')]
    mkdirSync(folder)
    const run = () => bench.run({ config: volume(folder), policy: allowing(path.join(place, 'allowed')) })
    expect(await run()).toMatchObject({ end: 'USER_CODE_ERROR/NON_ZERO_EXIT' })
    renameSync(folder, aside)
    symlinkSync('../secret', folder)
    expect(await run()).toMatchObject({ end: 'VALIDATION_ERROR/VOLUME_REFUSED', stdout: '' })
  })

  it('does not show what is mounted below it, which nobody allowed', async () => {
    const below = path.join(place, 'allowed/data/below')
    mkdirSync(below)
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', below])
    try {
      writeFileSync(path.join(below, 'key'), 'hidden\n')
      for (const mode of ['ro', 'rw']) {
        const { command: _, ...data } = volume(path.join(place, 'allowed/data'), { mode })
        const ran = await bench.run({
          config: { ...sh('ls /data/below; touch /data/below/x'), ...data },
          policy: allowing(path.join(place, 'allowed')),
        })
        expect(ran).toMatchObject({ end: 'USER_CODE_ERROR/NON_ZERO_EXIT', stdout: '' })
      }
      expect(readdirSync(below)).toEqual(['key'])
    } finally {
      execFileSync('umount', [below])
      rmSync(below, { recursive: true })
    }
  })

  it.each([
    ['the registry itself', 'allowed/registry.yaml'],
    ["the registry's folder", 'allowed'],
    ['a program of another service', 'allowed/programs'],
    ['a secret of another service', 'allowed/keys/token'],
  ])('never shows %s', async (_name, name) => {
    const other = {
      ...{
        name: 'other',
        type: 'computation',
        category: 'tests',
        execution_type: 'sandbox',
        operations: [{ name: 'run' }],
      },
      runner_config: { environment: 'e', script: 'programs/a.py' },
    }
    const keyed = {
      ...{ name: 'keyed', type: 'api', category: 'tests', execution_type: 'http', operations: [{ name: 'run' }] },
      runner_config: {
        ...{ base_url: 'https://example.org', auth_type: 'bearer' },
        auth_config: { token_file: path.join(place, 'allowed/keys/token') },
      },
    }
    const run = (host: string) =>
      bench.run({
        ...{ config: volume(path.join(place, host)), policy: allowing(place) },
        ...{ registryFile: path.join(place, 'allowed/registry.yaml'), otherServices: [other, keyed] },
      })
    expect(await run(name)).toMatchObject({ end: 'VALIDATION_ERROR/VOLUME_REFUSED', stdout: '' })
    expect(await run('allowed/data')).toMatchObject({ stdout: 'of the host\n' })
  })

  it.each([
    ['/proc', () => '/proc'],
    ['what holds everything', () => '/'],
    ['devices', () => '/dev/shm'],
    ["the engine's socket", () => engine.socket],
    ["the folder of the engine's socket and data", () => engine.folder],
    ["Ergon's own data", () => path.join(place, 'home')],
    ['what holds it', () => place],
  ])('never shows %s, even where the policy allows it', async (_name, host) => {
    const ran = await bench.run({ config: volume(host()), policy: allowing('/') })
    expect(ran).toMatchObject({ end: 'VALIDATION_ERROR/VOLUME_REFUSED', stdout: '' })
  })
})

describe('row 51: what a registry may not say', () => {
  const refusal = (config: Record<string, unknown>, policy: Record<string, unknown> = {}) =>
    bench.run({ config, policy }).then(
      () => 'it ran',
      (error: unknown) => (error instanceof Error ? `${error.message} ${JSON.stringify(error)}` : ''),
    )

  it.each([
    ['an option in the name of an image', { image: 'test/busybox:1 --privileged' }, 'is not the name of an image'],
    ['a path in the name of an image', { image: 'a/../../containers/x' }, 'is not the name of an image'],
    ['an image that is not allowed', { image: 'other/image:1' }, 'is not among security_policy.allowed_images'],
    ["the host's network", { network_mode: 'host' }, 'host is refused'],
    ["another container's network", { network_mode: 'container:abc' }, 'network_mode'],
    ['a network without the policy for it', { network_mode: 'bridge' }, 'network_isolation: false'],
    ['privileges', { privileged: true }, 'privileged'],
    ['capabilities', { cap_add: ['ALL'] }, 'cap_add'],
    ['devices', { devices: ['/dev/kvm'] }, 'devices'],
    ["the host's processes", { pid_mode: 'host' }, 'pid_mode'],
    ['root', { user: '0:0' }, 'user'],
    ['a user by name', { user: 'root' }, 'user'],
    ['a mount by ..', { volumes: [{ host_path: '/tmp/../etc', container_path: '/data' }] }, 'without ".."'],
    [
      'a mount that is not allowed',
      { volumes: [{ host_path: '/etc', container_path: '/data' }] },
      'allowed_host_paths',
    ],
    [
      'a mount with a similar beginning',
      { volumes: [{ host_path: '/srv/allowed-too', container_path: '/data' }] },
      'allowed_host_paths',
    ],
  ])('%s', async (_name, config, says) => {
    const policy = { allowed_images: ['test/busybox:*'], ...allowing('/srv/allowed') }
    expect(await refusal(config, policy)).toContain(says)
  })

  it.each([
    ['the image', { image: '${IT}' }, 'other/image:1', 'allowed_images'],
    [
      'the path of a volume',
      { volumes: [{ host_path: '${IT}', container_path: '/data' }] },
      '/etc',
      'allowed_host_paths',
    ],
    [
      'a path with ..',
      { volumes: [{ host_path: '/srv/allowed/${IT}', container_path: '/data' }] },
      '../../etc',
      'without ".."',
    ],
  ])('by way of a reference: %s', async (_name, config, value, says) => {
    const policy = { allowed_images: ['test/busybox:*'], ...allowing('/srv/allowed') }
    const told = await bench.run({ config, policy, variables: { IT: value } }).then(
      () => 'it ran',
      (error: unknown) => (error instanceof Error ? `${error.message} ${JSON.stringify(error)}` : ''),
    )
    expect(told).toContain(says)
  })

  it('and what a job says changes nothing of it', async () => {
    const input = {
      image: 'other/image:1',
      command: ['id'],
      network_mode: 'host',
      privileged: true,
      user: '0',
      volumes: ['/:/host'],
      HostConfig: { Privileged: true },
    }
    const ran = await bench.run({
      config: sh('id -u; ls /sys/class/net; ls -d /host; grep CapEff /proc/self/status'),
      input,
    })
    expect(ran.stdout).toMatch(/^65534\nlo\nCapEff:\s0{16}\n$/)
  })
})
