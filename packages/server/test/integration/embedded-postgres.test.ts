import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findFreePort } from '../../src/testing/find-free-port.ts'
import { createPool, type DatabasePool } from '../../src/platform/db/database.ts'
import { migrate } from '../../src/platform/db/migrate.ts'
import { EmbeddedPostgres, type EmbeddedPostgresOptions } from '../../src/platform/postgres/embedded-postgres.ts'
import { findPostmaster, type Postmaster } from '../../src/platform/postgres/postmaster.ts'
import { completeJobs } from '../../src/queue/complete.ts'
import { emptyRecord, insertJob, scalar, startWorker } from './queue-fixture.ts'

const isRoot = process.getuid?.() === 0
const silent = { info() {}, warn() {} }
let folder: string
const servers: EmbeddedPostgres[] = []

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-pg-'))
  await chmod(folder, 0o711)
})
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()))
  await rm(folder, { recursive: true, force: true })
})

function create(changes: Partial<EmbeddedPostgresOptions> = {}): EmbeddedPostgres {
  const server = new EmbeddedPostgres({
    home: path.join(folder, 'home'),
    cache: path.join(folder, 'cache'),
    osUser: 'ergon-postgres',
    port: null,
    logger: silent,
    ...changes,
  })
  servers.push(server)
  return server
}

async function using<Result>(url: string, work: (pool: DatabasePool) => Promise<Result>): Promise<Result> {
  const pool = createPool(url, { maxConnections: 8, applicationName: 'ergon-test' })
  try {
    return await work(pool)
  } finally {
    await pool.end()
  }
}

const postmaster = () => findPostmaster(path.join(folder, 'home/postgres'))
async function runningPostmaster(): Promise<Postmaster> {
  const running = await postmaster()
  if (running === null) throw new Error('no server is running')
  return running
}
async function untilGone(): Promise<void> {
  while ((await postmaster()) !== null) await sleep(5)
}

describe('EmbeddedPostgres', () => {
  it('is a real server on a unix socket alone, with a password that only we can read', async () => {
    const server = create()
    const url = await server.start()
    expect(await server.start()).toBe(url)
    const settings = await using(url, (pool) =>
      pool.query(
        `select current_setting('listen_addresses') as tcp, current_setting('fsync') as fsync, current_setting('server_encoding') as encoding`,
      ),
    )
    expect(settings.rows).toEqual([{ tcp: '', fsync: 'on', encoding: 'UTF8' }])
    const password = await stat(path.join(folder, 'home/credentials/postgres.password'))
    expect(password.mode & 0o777).toBe(0o600)
    const wrong = new URL(url)
    wrong.password = 'guess'
    await expect(using(wrong.toString(), (pool) => pool.query('select 1'))).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.not.stringContaining('guess'),
    })
    await server.stop()
    await server.stop()
    expect(await postmaster()).toBeNull()
    await expect(using(url, (pool) => pool.query('select 1'))).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
  })

  it('keeps its data from one start to the next', async () => {
    const url = await create().start()
    await using(url, (pool) => pool.query('create table kept as select 7 as value'))
    await servers[0]?.stop()
    expect(await using(await create().start(), (pool) => scalar(pool, 'select value from kept'))).toBe(7)
  })

  it('is one server for all who start it at once, stopped by the one that started it', async () => {
    const racing = [create(), create(), create()]
    const urls = await Promise.all(racing.map((server) => server.start()))
    expect(new Set(urls).size).toBe(1)
    const { pid } = await runningPostmaster()
    const follower = create()
    expect(await follower.start()).toBe(urls[0])
    await follower.stop()
    expect(await postmaster()).toMatchObject({ pid })
  })

  it('listens on loopback when it is given a port, and says so when it cannot change', async () => {
    const port = await findFreePort()
    await create({ port }).start()
    const password = await readFile(path.join(folder, 'home/credentials/postgres.password'), 'utf8')
    expect(
      await using(`postgresql://postgres:${password}@127.0.0.1:${port}/ergon`, (pool) => scalar(pool, 'select 1')),
    ).toBe(1)
    await expect(create({ port: port + 1 }).start()).rejects.toMatchObject({
      code: 'ALREADY_RUNNING',
      message: expect.stringContaining(`runs on port ${port}`),
    })
  })

  it('starts beside a stale pid file that names a living stranger', async () => {
    const server = create()
    await server.start()
    const pidFile = path.join(folder, 'home/postgres/postmaster.pid')
    const content = await readFile(pidFile, 'utf8')
    process.kill((await runningPostmaster()).pid, 'SIGKILL')
    await untilGone()
    await writeFile(pidFile, content.replace(/^\d+/, String(process.pid)))
    expect(await using(await create().start(), (pool) => scalar(pool, 'select 1'))).toBe(1)
  })

  it('ends when the process that started it is killed, and starts again', async () => {
    const starter = spawn(
      process.execPath,
      [
        fileURLToPath(new URL('./fixtures/start-and-wait.ts', import.meta.url)),
        path.join(folder, 'home'),
        path.join(folder, 'cache'),
      ],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const [url] = await once(createInterface({ input: starter.stdout }), 'line')
    await using(String(url), (pool) => pool.query('create table kept as select 7 as value'))
    starter.kill('SIGKILL')
    // At once: the start meets a server that is shutting down.
    expect(await using(await create().start(), (pool) => scalar(pool, 'select value from kept'))).toBe(7)
  })

  it('loses nothing that it acknowledged when it is killed under load', { timeout: 90_000 }, async () => {
    const server = create()
    let url = await server.start()
    await using(url, (pool) => migrate(pool))
    const inserted: string[] = []
    const completed: string[] = []
    for (let round = 0; round < 2; round += 1) {
      await using(url, async (pool) => {
        const worker = await startWorker(pool)
        const enough = Promise.withResolvers<void>()
        const insert = async () => {
          for (;;) {
            inserted.push(await insertJob(pool))
            if (inserted.length >= (round + 1) * 300 && completed.length >= (round + 1) * 100) enough.resolve()
          }
        }
        const work = async () => {
          for (;;) {
            const jobs = await worker.claim(5)
            const accepted = await completeJobs(
              pool,
              jobs.map(({ id, fence }) => ({ ...emptyRecord, id, fence })),
            )
            completed.push(...accepted)
          }
        }
        const loads = [insert(), insert(), work(), work()].map((load) => load.catch(() => {}))
        await enough.promise
        process.kill((await runningPostmaster()).pid, 'SIGKILL')
        await Promise.all(loads)
      })
      url = await create().start()
    }
    await using(url, async (pool) => {
      const known = await scalar(pool, 'select count(*)::int from jobs.tb_job_run where id = any ($1)', [inserted])
      expect(known).toBe(inserted.length)
      const done = await scalar(
        pool,
        `select count(*)::int from jobs.tb_job_run where id = any ($1) and status = 'completed'`,
        [completed],
      )
      expect(done).toBe(completed.length)
      // Every unfinished job is still live, and no finished one is.
      const torn = await scalar(
        pool,
        `select count(*)::int from jobs.tb_job_run j full join jobs.tb_job_queue q on q.job_id = j.id
         where (j.status in ('pending', 'running')) is distinct from (q.job_id is not null)`,
      )
      expect(torn).toBe(0)
    })
  })

  it('refuses a home whose socket would not fit', () => {
    expect(() => create({ home: `/tmp/${'h'.repeat(90)}` })).toThrow(
      expect.objectContaining({ code: 'DATABASE_SOCKET_PATH_TOO_LONG' }),
    )
  })

  it.runIf(isRoot)('refuses an OS user that does not exist, with the command that makes it', async () => {
    await expect(create({ osUser: 'ergon-nobody-at-all' }).start()).rejects.toMatchObject({
      code: 'DATABASE_USER_MISSING',
      message: expect.stringContaining('useradd --system'),
    })
  })

  it.runIf(isRoot)('refuses a home that its user cannot enter, and names the folder', async () => {
    await chmod(folder, 0o700)
    await expect(create().start()).rejects.toMatchObject({
      code: 'DATABASE_FOLDER_UNUSABLE',
      message: expect.stringContaining(`chmod o+x ${folder}`),
    })
  })

  it('says what its log says when it cannot start', async () => {
    const server = create({ settings: { shared_buffers: 'plenty' } })
    await expect(server.start()).rejects.toMatchObject({
      code: 'DATABASE_START_FAILED',
      message: expect.stringContaining('shared_buffers'),
    })
    expect(await postmaster()).toBeNull()
  })
})
