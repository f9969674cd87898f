import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { renameSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { findProcesses, findSandboxes, leftoversAfter } from './leftovers.ts'

/** Waits for a moment that its own end decides: long enough to be killed in, short enough to end after. */
const SLOW = 'import time\nprint("begun")\ntime.sleep(3)\nprint("ended")\n'

let home: ErgonHome
let dev: ChildProcess
let application: Application

async function startDev(): Promise<void> {
  const started = await home.start('dev')
  dev = started.child
  application = new Application(await home.connect(databaseUrlOf(started.line)))
}

beforeEach(async () => {
  home = new ErgonHome()
  await startDev()
})

afterEach(async () => {
  await home.remove()
  expect(await leftoversAfter(home, 10_000)).toEqual([])
})

/** Kills every process of the home whose command line matches; asserts that there was one. */
function kill(pattern: RegExp): void {
  const found = findProcesses(home.folder, pattern)
  expect(found.length).toBeGreaterThan(0)
  for (const { pid } of found) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      // The one killed before it took this one along.
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
    }
  }
}

async function insertAndAwaitSandbox(): Promise<string> {
  const id = await application.insert({}, SLOW)
  await application.until(async () => findSandboxes(home).length > 0)
  // A claim commits asynchronously: lost with the database it only means that the job was never claimed.
  await application.db.query('checkpoint')
  return id
}

async function expectOneResult(id: string): Promise<void> {
  const result = await application.untilEnded(id)
  expect(result).toMatchObject({ status: 'SUCCEEDED', outputs: { stdout: 'begun\nended\n' } })
  const { rows } = await application.db.query('select attempts from jobs.tb_job_run where id = $1', [id])
  expect(rows).toEqual([{ attempts: 2 }])
}

test('a killed worker: its sandbox dies at once, its job runs again', async () => {
  const id = await insertAndAwaitSandbox()
  kill(/worker-process/)
  await application.untilNoSandbox(home)
  await expectOneResult(id)
})

test('a killed sandboxd: every sandbox dies with it, the job runs again', async () => {
  const id = await insertAndAwaitSandbox()
  kill(/run\.py .*--socket/)
  await expectOneResult(id)
})

test('a sandboxd that cannot be reached: jobs wait for it and no attempt is spent', async () => {
  const { sandboxdSocket } = home.paths
  renameSync(sandboxdSocket, `${sandboxdSocket}.away`)
  const id = await application.insert({}, 'print("ran")\n')
  await sleep(5_000)
  const { rows } = await application.db.query('select status, failure from jobs.tb_job_run where id = $1', [id])
  expect(rows).not.toMatchObject([{ status: 'failed' }])
  renameSync(`${sandboxdSocket}.away`, sandboxdSocket)
  expect(await application.untilEnded(id)).toMatchObject({ status: 'SUCCEEDED' })
  const after = await application.db.query('select attempts from jobs.tb_job_run where id = $1', [id])
  expect(after.rows).toEqual([{ attempts: 1 }])
})

test('a killed database: the job it held comes to one result', async () => {
  const id = await insertAndAwaitSandbox()
  kill(/postgres.* -D /)
  await application.until(async () => {
    try {
      application = new Application(await home.connect(await databaseUrl()))
      return true
    } catch {
      return false
    }
  })
  const result = await application.untilEnded(id)
  expect(result).toMatchObject({ status: 'SUCCEEDED', outputs: { stdout: 'begun\nended\n' } })
})

test('everything killed: nothing is left, and the job runs again after the next start', async () => {
  const id = await insertAndAwaitSandbox()
  kill(/(?:)/)
  if (dev.exitCode === null && dev.signalCode === null) await once(dev, 'exit')
  // An empty cgroup folder is all that nobody is left to remove: the next start does.
  expect((await leftoversAfter(home, 10_000)).filter((each) => !each.startsWith('cgroup'))).toEqual([])
  await startDev()
  await expectOneResult(id)
})

test('a killed `ergon dev`: what it started ends by itself', async () => {
  await insertAndAwaitSandbox()
  dev.kill('SIGKILL')
  await once(dev, 'exit')
  expect(await leftoversAfter(home, 10_000)).toEqual([])
})

test('a drained worker finishes what it holds', async () => {
  const id = await insertAndAwaitSandbox()
  dev.kill('SIGTERM')
  await once(dev, 'exit')
  await startDev()
  expect(await application.untilEnded(id)).toMatchObject({ status: 'SUCCEEDED' })
  const { rows } = await application.db.query('select attempts from jobs.tb_job_run where id = $1', [id])
  expect(rows).toEqual([{ attempts: 1 }])
})

test('a worker whose patience ends hands the job back, uncounted', async () => {
  const id = await application.insert({}, 'import time\ntime.sleep(20)\n')
  await application.until(async () => findSandboxes(home).length > 0)
  dev.kill('SIGTERM')
  await once(dev, 'exit')
  await startDev()
  await application.untilStatus(id, ['running'])
  const { rows } = await application.db.query('select attempts from jobs.tb_job_run where id = $1', [id])
  expect(rows).toEqual([{ attempts: 1 }])
  await home.run('jobs', 'cancel', id)
})

async function databaseUrl(): Promise<string> {
  const { socket, folder } = { socket: `${home.folder}/run/postgres`, folder: home.paths.credentials }
  const { readdirSync, readFileSync } = await import('node:fs')
  const file = readdirSync(folder).find((name) => name.includes('postgres')) ?? ''
  return `postgresql://postgres:${readFileSync(`${folder}/${file}`, 'utf8').trim()}@localhost/ergon?host=${encodeURIComponent(socket)}`
}
