import { rmSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type pg from 'pg'
import { databaseUrlOf, ErgonHome } from './ergon.ts'

describe('the audit trail of a stack', () => {
  const home = new ErgonHome()
  let db: pg.Client
  let verdicts: { id: string; outcome: string }[]

  beforeAll(async () => {
    const { line } = await home.start('dev')
    db = await home.connect(databaseUrlOf(line))
    const good = await home.runProgram('print("the word")', '--isolation', 'fresh')
    const bad = await home.runProgram('raise SystemExit(3)')
    verdicts = [
      { id: good.result.job_id, outcome: 'succeeded' },
      { id: bad.result.job_id, outcome: 'failed' },
    ]
    for (let waiting = true; waiting; await sleep(100)) {
      const { rows } = await db.query('select coalesce(sum(entry_count), 0)::int as sealed from jobs.tb_audit_seal')
      waiting = rows[0].sealed < 2
    }
  })
  afterAll(() => home.remove())

  async function verify(...options: string[]) {
    const { code, stdout, stderr } = await home.run('audit', 'verify', '--json', ...options)
    if (stdout === '') throw new Error(stderr)
    return { code, ...JSON.parse(stdout) }
  }

  test('has an entry for each attempt: who, what was allowed, what happened, not what was printed', async () => {
    for (const { id, outcome } of verdicts) {
      const { rows } = await db.query('select entry, recorded_by, identifier from jobs.tb_audit where job_id = $1', [
        id,
      ])
      expect(rows).toHaveLength(1)
      expect(rows[0].recorded_by).toMatch(/^ergon_worker/)
      expect(rows[0].entry).not.toContain('the word')
      expect(JSON.parse(rows[0].entry)).toMatchObject({
        event: 'ended',
        job: { id, attempt: 1 },
        allowed: {
          service: 'executor',
          execution_type: 'sandbox',
          policy_digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
          runner: { isolation: expect.stringMatching(/^(warm|fresh)$/), limits: expect.any(Object) },
        },
        happened: { outcome, env_version: expect.stringContaining('python-sci@') },
      })
    }
  })

  test('is checked in the database, and as a file with the public key alone', async () => {
    expect(statSync(home.paths.signingKey).mode & 0o777).toBe(0o600)
    const report = await verify()
    expect(report).toMatchObject({ code: 0, fault: null })
    expect(await verify('--head', `${report.head.number}:${report.head.digest}`)).toMatchObject({ code: 0 })

    const trail = home.file('trail.jsonl', (await home.run('audit', 'export')).stdout)
    const key = home.file('ergon.pub', (await home.run('audit', 'public-key')).stdout)
    expect(await verify('--file', trail, '--public-key', key)).toMatchObject({ code: 0, entries: report.entries })
  })

  test('shows what a superuser changed, and says what is missing to check it', async () => {
    await db.query(
      `begin; set local session_replication_role = replica;
       update jobs.tb_audit set entry = replace(entry, '"failed"', '"succeeded"') where job_id = '${verdicts[1]?.id}'; commit`,
    )
    const broken = await home.run('audit', 'verify')
    expect(broken.code).toBe(1)
    expect(broken.stdout).toMatch(/^BROKEN at seal \d+: entry \d+ \(entry \d of \d\) was altered\n/)

    rmSync(home.paths.signingKey)
    const keyless = await home.run('audit', 'verify')
    expect(keyless.code).toBe(2)
    expect(keyless.stderr).toContain('there is no signing key')
    expect(await home.run('audit', 'verify', '--file', '/nowhere')).toMatchObject({ code: 2 })
  })
})
