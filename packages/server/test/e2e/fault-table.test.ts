import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FaultHost, type HeldJob, signal } from './faults/fault-host.ts'
import { findJobProcesses, findInit, findRuntime, findSandboxd } from './faults/process-tree.ts'
import { findSandboxes, leftoversAfter } from './leftovers.ts'

/** Waits for a moment on the clock, so that a first attempt can be killed in it and a second need not wait as long. */
const untilLater = () =>
  `import time\nprint("begun", flush=True)\nwhile time.time() < ${Date.now() / 1000 + 12}: time.sleep(0.05)\n`
const TALKS = 'import os\nfor _ in range(64): os.write(1, b"x" * 65536)\n'
const LEAVES = 'open("/workspace/output/a.txt", "w").write("x" * (8 << 20))\n'
const ENDS = 'print("fine")\n'

/** The steps of a job's life, in the order in which jobs are stopped there: those that are not waited for long last. */
const STEPS: Record<string, (host: FaultHost) => Promise<HeldJob>> = {
  // It writes more than the way to the worker holds, so it stands still too.
  'while output streams': (host) =>
    host.hold(TALKS, (direction, { type }) => (direction === 'answer' && type === 'output' ? 'within' : null)),
  'at collection': (host) =>
    host.hold(LEAVES, (direction, { type }) => (direction === 'answer' && type === 'data' ? 'within' : null)),
  'between start and started': (host) => host.holdStarting(ENDS, 'runtime'),
  'in init, before started': (host) => host.holdStarting(ENDS, 'init'),
  running: (host) =>
    host.hold(untilLater(), (direction, { type }) => (direction === 'answer' && type === 'output' ? 'after' : null)),
  'while inputs are sent': (host) =>
    host.hold(ENDS, (direction, { type }) => (direction === 'request' && type === 'data' ? 'within' : null)),
  'before accepted': (host) =>
    host.hold(ENDS, (direction, { type }) => (direction === 'request' && type === 'run' ? 'within' : null)),
  'while recording': (host) => host.holdRecording(ENDS),
}

interface Victim {
  name: string
  /** crun where it makes no difference. */
  runtime?: 'runc'
  /** The pid to kill, for a job that stands still. */
  find(host: FaultHost, job: HeldJob): number | null
  /** What the first attempt ends as at each step; null where the victim's death costs the job nothing. */
  steps: Partial<Record<keyof typeof STEPS, string | null>>
}

const LIVING_SANDBOX = {
  running: 'SANDBOX_LOST',
  'while output streams': 'SANDBOX_LOST',
  'between start and started': 'SANDBOX_RUNTIME_FAILED',
  'in init, before started': 'SANDBOX_RUNTIME_FAILED',
}
const LIVING_CONNECTION = {
  ...LIVING_SANDBOX,
  'between start and started': 'SANDBOX_LOST',
  'in init, before started': 'SANDBOX_LOST',
  'at collection': 'SANDBOX_LOST',
  'while inputs are sent': 'SANDBOX_LOST',
  'before accepted': 'SANDBOX_LOST',
}
const EVERY_STEP = Object.fromEntries(Object.keys(STEPS).map((step) => [step, 'WORKER_LOST']))

const VICTIMS: readonly Victim[] = [
  { name: 'the worker', find: (host) => host.workerPid(), steps: EVERY_STEP },
  {
    name: 'sandboxd',
    find: ({ home }) => findSandboxd(home).outer,
    steps: { ...LIVING_CONNECTION, 'while recording': null },
  },
  {
    name: "sandboxd's accept loop",
    find: ({ home }) => findSandboxd(home).acceptLoop,
    steps: { ...LIVING_CONNECTION, 'while recording': null },
  },
  { name: 'the handler', find: (_, { handler }) => handler, steps: LIVING_CONNECTION },
  { name: 'the OCI runtime', find: (_, { handler }) => findRuntime(handler), steps: LIVING_SANDBOX },
  {
    name: 'init',
    find: (_, { handler }) => findInit(handler),
    steps: {
      running: 'SANDBOX_LOST',
      'while output streams': 'SANDBOX_LOST',
      'in init, before started': 'SANDBOX_RUNTIME_FAILED',
    },
  },
  {
    // It does not stay beside the job.
    name: 'runc, while it starts a job,',
    runtime: 'runc',
    find: (_, { handler }) => findRuntime(handler),
    steps: { 'between start and started': 'SANDBOX_RUNTIME_FAILED' },
  },
  {
    name: 'the init that runc left',
    runtime: 'runc',
    find: (_, { handler }) => findInit(handler),
    steps: { running: 'SANDBOX_LOST', 'while output streams': 'SANDBOX_LOST' },
  },
]

describe.each(VICTIMS)('$name is killed', (victim) => {
  const host = new FaultHost(victim.runtime ?? 'crun')
  const jobs = new Map<string, HeldJob>()

  beforeAll(async () => {
    await host.start()
    for (const [step, hold] of Object.entries(STEPS)) {
      if (step in victim.steps) jobs.set(step, await hold(host))
    }
    // All are looked up before any is killed: one process may be the victim of every job.
    const pids = new Set([...jobs.values()].map((job) => victim.find(host, job) ?? 0))
    expect(pids).not.toContain(0)
    for (const pid of pids) signal(pid, 'SIGKILL')
    await host.application.until(async () => ![...pids].some(isAlive))
    await Promise.all([...jobs.values()].map((job) => job.release()))
  })

  test.each(Object.entries(victim.steps))(
    '%s: the first attempt ends as %s, and the job succeeds',
    async (step, code) => {
      const { id } = jobs.get(step) ?? { id: '' }
      const result = await host.application.untilEnded(id)
      expect(result, JSON.stringify(result.error)).toMatchObject({ status: 'SUCCEEDED' })
      expect(await host.application.failureCodes(id)).toEqual(code === null ? [] : [code])
      if (step === 'while output streams') expect(result.outputs.stdout).toBe('x'.repeat(64 * 65_536))
      if (step === 'at collection') expect(result.artifacts).toMatchObject([{ size_bytes: 8 << 20 }])
    },
  )

  test('nothing of any of them is left', async () => {
    await expect.poll(() => findSandboxes(host.home), { timeout: 10_000 }).toEqual([])
    // Orphans of a handler would be its children too.
    await expect.poll(() => findJobProcesses(findSandboxd(host.home)), { timeout: 10_000 }).toEqual([])
    await expect.poll(() => host.spooled(), { timeout: 10_000 }).toEqual([])
    expect(await host.application.runPayload({}, ENDS)).toMatchObject({ status: 'SUCCEEDED', logs: [] })
  })

  afterAll(async () => {
    await host.remove()
    expect(await leftoversAfter(host.home, 10_000)).toEqual([])
  })
})

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`)
}
