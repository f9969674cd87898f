import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { prepareHome, workerUser } from '../../src/app/prepare-home.ts'
import { workerCommand } from '../../src/app/worker-command.ts'
import type { WorkerProcessConfig } from '../../src/app/worker-process-config.ts'
import { ErgonHome } from './ergon.ts'

const home = new ErgonHome()
const user = workerUser()
const SOCKET_GROUP = 4_242
const engine = { url: 'unix:///nowhere/docker.sock', tls: null }
const children: ChildProcess[] = []

/** What a worker's user may do to a process once code of somebody else runs in a worker that holds no engine. */
const ATTACK = `
import os, sys
try:
    open(f"/proc/{sys.argv[1]}/mem", "r+b")
    print("its memory is open")
except PermissionError:
    print("its memory is closed")
os.kill(int(sys.argv[1]), int(sys.argv[2]))
`

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await home.remove()
})

/** A worker that waits for its configuration, with all that it says on standard error. */
async function startWorker(dockerEngine: WorkerProcessConfig['dockerEngine'], socketGroup: number | null) {
  await prepareHome(home.paths, user)
  const config = { dockerEngine } as Omit<WorkerProcessConfig, 'parentPid'>
  const { command, args, env } = workerCommand(config, home.paths, user, socketGroup)
  const child = spawn(command, args, { env, cwd: '/', stdio: ['pipe', 'ignore', 'pipe'] })
  children.push(child)
  const said = { stderr: '' }
  child.stderr?.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()))
  const { pid = 0 } = child
  // Until the shell before it has become Node, and a moment for that to begin.
  while (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(home.paths.node)) await sleep(20)
  await sleep(500)
  return { child, pid, said }
}

function attack(pid: number, signal: 'SIGUSR1' | 0) {
  const rights = ['--reuid', String(user.uid), '--regid', String(user.gid), '--clear-groups', '--no-new-privs']
  const number = signal === 0 ? '0' : '10'
  const args = [...rights, '--bounding-set=-all', '/usr/bin/python3', '-I', '-c', ATTACK, String(pid), number]
  return spawnSync('setpriv', args, { encoding: 'utf8' }).stdout.trim()
}

describe.runIf(process.getuid?.() === 0)('a worker that holds a container engine', () => {
  it.each([
    ['by the group of its socket', engine, SOCKET_GROUP],
    ['by a certificate', { url: 'tcp://127.0.0.1:1', tls: { ca: '', cert: '', key: '' } }, null],
  ])('%s is out of reach of the others of its user', async (_how, dockerEngine, group) => {
    const { child, pid, said } = await startWorker(dockerEngine, group)
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    expect(status).toMatch(new RegExp(`^Uid:\t${user.uid}\t`, 'm'))
    expect(attack(pid, 0)).toBe('its memory is closed')
    attack(pid, 'SIGUSR1')
    await sleep(1_000)
    expect(child.exitCode).toBeNull()
    // Node says so when it opens a debugger.
    expect(said.stderr).toBe('')
  })

  it('has the group that lets it use the socket', async () => {
    const { pid } = await startWorker(engine, SOCKET_GROUP)
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(new RegExp(`^Gid:\t${SOCKET_GROUP}\t`, 'm'))
  })

  it('would be within reach of one that has its group too', async () => {
    const { pid } = await startWorker(null, null)
    expect(attack(pid, 0)).toBe('its memory is open')
  })
})
