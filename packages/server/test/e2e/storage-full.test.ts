import { execFileSync } from 'node:child_process'
import { chownSync, mkdirSync, statSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findOsUser } from '../../src/platform/process/os-user.ts'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'

const home = new ErgonHome()
const store = home.paths.artifacts
let application: Application

/** Above what a worker wants free before it claims (64 MiB), below what the job leaves. */
const SMALL = '80m'
const LEAVES_100_MB = `
import os
with open(os.environ["ERGON_OUTPUT_DIR"] + "/big.txt", "w") as file:
    for _ in range(100): file.write("x" * 1_000_000)
`

beforeAll(async () => {
  const user = findOsUser('ergon')
  mkdirSync(store, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SMALL},mode=700`, 'tmpfs', store])
  chownSync(store, user?.uid ?? -1, user?.gid ?? -1)
  const { line } = await home.start('dev')
  application = new Application(await home.connect(databaseUrlOf(line)))
})

afterAll(async () => {
  await home.stop()
  execFileSync('umount', [store])
  await home.remove()
})

test('a full store is a coded failure that is tried again, stops claiming meanwhile, and leaves no half file', async () => {
  const id = await application.insert({ output_spec: { formats: ['txt'] } }, LEAVES_100_MB)
  await application.until(async () => (await application.failureCodes(id)).length > 0)
  expect(await application.failureCodes(id)).toEqual(['STORAGE_FULL'])
  await application.untilStatus(id, ['pending'])
  expect(execFileSync('find', [store, '-type', 'f'], { encoding: 'utf8' })).toBe('')

  // Full for everybody: nothing is claimed, although the job's own time has come.
  execFileSync('mount', ['-o', 'remount,size=40m', store])
  const other = await application.insert({}, 'pass\n')
  await application.until(async () => (await minutesOld(other)) * 60 > 7)
  expect(await application.read(other)).toMatchObject({ status: 'QUEUED' })

  execFileSync('mount', ['-o', 'remount,size=400m', store])
  expect(await application.untilEnded(other)).toMatchObject({ status: 'SUCCEEDED' })
  const result = await application.untilEnded(id)
  expect(result).toMatchObject({ status: 'SUCCEEDED', artifacts: [{ size_bytes: 100_000_000 }] })
  const path = (
    await home.run('artifacts', 'get', result.artifacts[0]?.artifact_id ?? '', '--out', `${home.folder}/copy`)
  ).code
  expect(path).toBe(0)
  expect(statSync(`${home.folder}/copy`).size).toBe(100_000_000)
})

/** By the database's clock. */
async function minutesOld(id: string): Promise<number> {
  const { rows } = await application.db.query(
    `select extract(epoch from now() - created_at)::float / 60 as age from jobs.tb_job_run where id = $1`,
    [id],
  )
  return (rows[0] as { age: number }).age
}
