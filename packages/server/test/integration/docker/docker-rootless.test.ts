import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { DockerBench, sh } from './docker-fixture.ts'

const UID = 64_322
/** Above the ids of users, below those of sandboxes. */
const SUBORDINATE_IDS = 'rootless:400000000:65536\n'

/** Docker's own start script, as a user that nothing else sees; no network, which is not what is tried here. */
const SERVE = `
set -eu
for file in passwd subuid subgid; do mount --bind "$1/$file" /etc/$file; done
exec setpriv --reuid ${UID} --regid ${UID} --clear-groups --pdeathsig KILL \\
  /usr/share/docker.io/contrib/dockerd-rootless.sh --storage-driver=vfs --iptables=false --ip6tables=false --bridge=none \\
  --ip-forward=false --userland-proxy=false -H "unix://$1/docker.sock"
`

const folder = mkdtempSync(path.join(tmpdir(), 'ergon-rootless-'))
let engine: ChildProcess
let log = ''
beforeAll(async () => {
  chmodSync(folder, 0o755)
  writeFileSync(path.join(folder, 'passwd'), `root:x:0:0::/root:/bin/sh\nrootless:x:${UID}:${UID}::${folder}:/bin/sh\n`)
  for (const name of ['subuid', 'subgid']) writeFileSync(path.join(folder, name), SUBORDINATE_IDS)
  execFileSync('chown', [`${UID}:${UID}`, folder])
  const env = {
    ...{ PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: folder, XDG_RUNTIME_DIR: folder },
    ...{ DOCKERD_ROOTLESS_ROOTLESSKIT_NET: 'host', DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER: 'none' },
  }
  const words = [
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    '--propagation',
    'private',
    '--',
    'sh',
    '-c',
    SERVE,
  ]
  engine = spawn('unshare', [...words, 'serve', folder], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  engine.stderr?.on('data', (chunk: Buffer) => (log = (log + chunk.toString('utf8')).slice(-4_000)))
  await vi.waitFor(() => expect(log).toContain('API listen on'), { timeout: 50_000 })
})
afterAll(async () => {
  const ended = engine.exitCode === null ? once(engine, 'exit') : null
  engine.kill('SIGKILL')
  await ended
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
})

it('an engine without root that has no cgroups of its own runs nothing, and says what it lacks', async () => {
  const bench = new DockerBench({ url: `unix://${folder}/docker.sock` })
  const ran = await bench.run({ config: sh('true') })
  bench.remove()
  expect(ran).toMatchObject({ end: 'INTERNAL_ERROR/ENGINE_UNFIT', stdout: '' })
  expect(ran.message).toContain('it runs without root and without cgroups: give its user cgroup v2')
  for (const limit of ['memory limit', 'limit of processes', 'CPU quota']) expect(ran.message).toContain(limit)
})
