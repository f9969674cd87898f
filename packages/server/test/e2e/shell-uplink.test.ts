import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { jobResultSchema } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CLI, ErgonHome } from './ergon.ts'
import { leftoversAfter } from './leftovers.ts'

const PUBLIC = '93.184.216.34'
const PRIVATE = '10.9.9.9'

/** An exception is told in each job that had it. */
const RECORD = {
  level: 'info',
  message: `network_access is all: the job could reach public addresses, and ${PRIVATE}/32`,
}

const registry = (access: string, networks = '[]') => `services:
  - name: fetch
    type: script
    category: tests
    execution_type: shell
    operations: [{name: run, timeout: 20, max_retries: 0}]
    security_policy:
      allowed_commands: [/bin/bash]
      network_access: ${access}
      allowed_networks: ${networks}
      resource_limits: {memory_mb: 64, cpu_seconds: 10}
`

/** Answers each connection with the address that it was made to. */
const ANSWER = `require('net').createServer((socket) => socket.on('error', () => {}).end(socket.localAddress + '\\n')).listen(8080, '0.0.0.0', () => console.log('listening'))`

/** A network namespace in the place of the internet: its loopback has public and private addresses. */
class Internet {
  readonly #children: ChildProcess[] = []
  #holder = 0

  async start(): Promise<void> {
    const addresses = [PUBLIC, PRIVATE, '10.8.8.8']
      .map((address) => `ip route add local ${address}/32 dev lo`)
      .join(' && ')
    const script = `ip link set lo up && ${addresses} && exec "$0" -e "$1"`
    const child = this.#keep(spawn('unshare', ['--net', 'sh', '-c', script, process.execPath, ANSWER]))
    this.#holder = child.pid ?? 0
    await once(createInterface({ input: child.stdout ?? process.stdin }), 'line')
  }

  /** Starts the command line inside, and gives its first line of output. */
  async dev(home: ErgonHome, file: string): Promise<{ child: ChildProcess; said: () => string }> {
    const inside = [`--net=/proc/${this.#holder}/ns/net`, process.execPath, CLI, 'dev', '--json', '--registry', file]
    const child = this.#keep(spawn('nsenter', inside, { env: home.env }))
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
    const ended = once(child, 'exit').then(() => Promise.reject(new Error(`ergon dev has ended: ${said}`)))
    await Promise.race([once(createInterface({ input: child.stdout ?? process.stdin }), 'line'), ended])
    ended.catch(() => {})
    return { child, said: () => said }
  }

  async stop(): Promise<void> {
    for (const child of this.#children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
  }

  #keep(child: ChildProcess): ChildProcess {
    this.#children.push(child)
    return child
  }
}

describe('a shell service with network_access all', () => {
  const home = new ErgonHome({ ERGON_LOG_LEVEL: 'info' })
  const internet = new Internet()
  const file = home.file('registry.yaml', registry('all', `["${PRIVATE}/32"]`))
  let dev: Awaited<ReturnType<Internet['dev']>>
  beforeAll(async () => {
    await internet.start()
    dev = await internet.dev(home, file)
  })
  afterAll(async () => {
    await internet.stop()
    await home.remove()
    expect(await leftoversAfter(home, 10_000)).toEqual([])
  })

  async function fetch(address: string) {
    const input = JSON.stringify({ shell: true, script: 'exec 3<>/dev/tcp/$1/8080 && cat <&3', args: [address] })
    const { stdout } = await home.run('call', 'fetch.run', '--input', input, '--registry', file, '--json')
    return jobResultSchema.parse(JSON.parse(stdout))
  }

  test.each([PUBLIC, PRIVATE])('reaches %s, which is public or allowed', async (address) => {
    expect(await fetch(address)).toMatchObject({
      status: 'SUCCEEDED',
      outputs: { stdout: `${address}\n` },
      logs: [RECORD],
    })
  })

  test.each(['10.8.8.8', '169.254.169.254'])('does not reach %s, and says so by evidence', async (address) => {
    expect(await fetch(address)).toMatchObject({
      error: { category: 'SANDBOX_VIOLATION', code: 'NETWORK_DENIED', evidence: { counter: 'network_attempts' } },
    })
  })

  test("has a loopback of its own, not the host's", async () => {
    expect(await fetch('127.0.0.1')).toMatchObject({ status: 'FAILED', outputs: { stdout: '' } })
  })

  test('a new version that needs more than sandboxd was started for is refused, and the one before it serves on', async () => {
    writeFileSync(file, registry('all', '["10.0.0.0/8"]'))
    dev.child.kill('SIGHUP')
    const deadline = performance.now() + 20_000
    while (!dev.said().includes('does not lead to 10.0.0.0/8') && performance.now() < deadline) await sleep(50)
    expect(dev.said()).toContain('the one before it goes on serving')
    writeFileSync(file, registry('all', `["${PRIVATE}/32"]`))
    expect(await fetch('10.8.8.8')).toMatchObject({ error: { code: 'NETWORK_DENIED' } })
  })
})

test('a registry with such a service is refused at its start where slirp4netns is missing', async () => {
  const home = new ErgonHome()
  const file = home.file('registry.yaml', registry('all'))
  const hide = 'mount --bind /dev/null "$(command -v slirp4netns)" && exec "$@"'
  const child = spawn(
    'unshare',
    ['--mount', 'sh', '-c', hide, 'sh', process.execPath, CLI, 'dev', '--registry', file],
    {
      env: { ...home.env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    },
  )
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
  await once(child, 'close')
  expect(said).toMatch(
    /service 'fetch' has network_access all, and .*slirp4netns is not installed.*apt-get install slirp4netns/,
  )
  expect(child.exitCode).toBe(3)
  await home.remove()
})
