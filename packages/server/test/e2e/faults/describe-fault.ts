import { existsSync } from 'node:fs'
import type { Isolation } from '@ergon/contract'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findSandboxes, leftoversAfter } from '../leftovers.ts'
import { FaultHost, type HeldJob, signal } from './fault-host.ts'
import { findJobProcesses, findSandboxd } from './process-tree.ts'
import { ENDS, STEPS } from './steps.ts'

export interface Victim {
  name: string
  /** crun where it makes no difference. */
  runtime?: 'runc'
  /** The pid to kill, for a job that stands still. */
  find(host: FaultHost, job: HeldJob): number | null
  /** What the first attempt ends as at each step; null where the victim's death costs the job nothing. */
  steps: Partial<Record<keyof typeof STEPS, string | null>>
}

/** Stops jobs of one isolation at each of the victim's steps, kills the victim of each, and looks at how the jobs end and at what is left. */
export function describeFault(victim: Victim, isolation: Isolation): void {
  const host = new FaultHost(victim.runtime ?? 'crun', isolation)
  const jobs = new Map<string, HeldJob>()

  beforeAll(async () => {
    await host.start()
    for (const [step, hold] of Object.entries(STEPS)) {
      if (step in victim.steps) jobs.set(step, await hold(host))
    }
    // All are looked up before any is killed: one process may be the victim of every job. The last may just be made.
    const find = () => [...jobs.values()].map((job) => victim.find(host, job) ?? 0)
    await host.application.until(async () => !find().includes(0))
    const pids = new Set(find())
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
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`)
}
