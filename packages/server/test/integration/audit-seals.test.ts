import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { exportAudit, readExport } from '../../src/control/audit-export.ts'
import { verifyAuditTrail } from '../../src/control/verify-audit-trail.ts'
import { AuditSealer } from '../../src/maintenance/audit-sealer.ts'
import { openVerifyingKey } from '../../src/platform/crypto/signing-key.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { appendAudit } from '../../src/queue/append-audit.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { key, makeKey, seal, sealAll, tamper, verify } from './audit-fixture.ts'
import { insertJob, scalar } from './queue-fixture.ts'

let db: TestDatabase
let job: string
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())

/** Each test has a trail of its own: three seals with three entries each. */
beforeEach(async () => {
  await tamperAway()
  job = await insertJob(db.admin, { identifier: `ä,1:b-${Math.random()}` })
  for (let number = 0; number < 3; number++) {
    for (let entry = 0; entry < 3; entry++)
      await appendAudit(db.as('ergon_worker'), job, JSON.stringify({ number, entry, text: 'ä\u2028€' }))
    expect(await sealAll(db)).toBe(3)
  }
})

async function tamperAway(): Promise<void> {
  await db.admin.query(
    'alter table jobs.tb_audit disable trigger all; alter table jobs.tb_audit_seal disable trigger all',
  )
  await db.admin.query('truncate jobs.tb_audit, jobs.tb_audit_seal')
  await db.admin.query(
    'alter table jobs.tb_audit enable trigger all; alter table jobs.tb_audit_seal enable trigger all',
  )
}

const second = `(select seq from jobs.tb_audit order by xid, seq offset 4 limit 1)`

describe('the chain of seals', () => {
  it('holds as the worker made it: database and verifier hash alike', async () => {
    const report = await verify(db.admin)
    expect(report).toMatchObject({ seals: 3, entries: 9, unsealed: { count: 0 }, fault: null, head: { number: '3' } })
    expect(await verify(db.admin, { head: report.head ?? { number: '', digest: '' } })).toMatchObject({ fault: null })
  })

  it('counts what waits for its seal', async () => {
    await appendAudit(db.as('ergon_worker'), job, '{}')
    expect(await verify(db.admin)).toMatchObject({
      entries: 9,
      unsealed: { count: 1, oldest: expect.any(Date) },
      fault: null,
    })
  })

  it('begins where it is asked to', async () => {
    const since = new Date(
      String(await scalar(db.admin, 'select sealed_at::text from jobs.tb_audit_seal where number = 2')),
    )
    expect(await verify(db.admin, { since })).toMatchObject({ seals: 2, entries: 6, fault: null })
  })

  it.each([
    ['altered', `update jobs.tb_audit set entry = '{}' where seq = ${second}`, 'was altered'],
    ['signed over', `update jobs.tb_audit set recorded_by = 'x' where seq = ${second}`, 'was altered'],
    [
      'dated back',
      `update jobs.tb_audit set recorded_at = recorded_at - interval '1 us' where seq = ${second}`,
      'was altered',
    ],
    ['put under another name', `update jobs.tb_audit set identifier = null where seq = ${second}`, 'was altered'],
    ['deleted', `delete from jobs.tb_audit where seq = ${second}`, 'entry 2 of 3 (the one behind entry'],
    [
      'inserted',
      `insert into jobs.tb_audit (xid, entry) select xid, '{}' from jobs.tb_audit where seq = ${second}`,
      'was inserted after the seal',
    ],
    [
      'put into a gap of the range',
      `insert into jobs.tb_audit (xid, entry) select from_xid, '{}' from jobs.tb_audit_seal where number = 2`,
      'was inserted after the seal',
    ],
    [
      'put in another order',
      `with pair as (select array_agg(xid order by xid) xids, array_agg(seq order by xid) seqs
                     from (select xid, seq from jobs.tb_audit order by xid offset 3 limit 2) two)
       update jobs.tb_audit a set xid = p.xids[3 - array_position(p.seqs, a.seq)] from pair p where a.seq = any (p.seqs)`,
      'was altered',
    ],
  ])('tells which entry was %s', async (_what, statement, words) => {
    await tamper(db.admin, statement)
    const { fault, seals } = await verify(db.admin)
    expect({ seals, seal: fault?.seal }).toEqual({ seals: 1, seal: '2' })
    expect(fault?.problem).toContain(words)
  })

  it.each([
    ['was removed', 'delete from jobs.tb_audit_seal where number = 2', 'it is missing'],
    ['was the first and removed', 'delete from jobs.tb_audit_seal where number = 1', 'it is missing'],
    [
      'was moved',
      `update jobs.tb_audit_seal set upto_xid = (upto_xid::text::bigint - 1)::text::xid8 where number = 2`,
      'digest',
    ],
    [
      'was dated back',
      `update jobs.tb_audit_seal set sealed_at = sealed_at - interval '1 hour' where number = 2`,
      'digest',
    ],
    [
      'was signed by somebody else',
      `update jobs.tb_audit_seal set key_id = repeat('0', 64) where number = 2`,
      'another key',
    ],
    [
      'has another signature',
      `update jobs.tb_audit_seal set signature = decode(repeat('00', 64), 'hex') where number = 2`,
      'signature',
    ],
  ])('tells which seal %s', async (_what, statement, words) => {
    await tamper(db.admin, statement)
    const { fault } = await verify(db.admin)
    expect(['1', '2']).toContain(fault?.seal)
    expect(fault?.problem).toContain(words)
  })

  it('tells that all entries are gone', async () => {
    await tamper(db.admin, 'delete from jobs.tb_audit')
    expect((await verify(db.admin)).fault).toMatchObject({ seal: '1', problem: expect.stringContaining('was deleted') })
  })

  it('tells that the newest seals are gone to whoever noted the head down', async () => {
    const { head } = await verify(db.admin)
    await tamper(db.admin, 'delete from jobs.tb_audit_seal where number = 3')
    expect((await verify(db.admin)).fault).toBeNull()
    expect((await verify(db.admin, { head: head ?? { number: '', digest: '' } })).fault).toMatchObject({
      seal: '3',
      problem: 'it is missing: the newest one is 2',
    })
    // And to whoever noted it when somebody had the rest sealed anew.
    await tamper(
      db.admin,
      `update jobs.tb_audit set entry = '{}' where xid >= (select upto_xid from jobs.tb_audit_seal where number = 2)`,
    )
    await sealAll(db)
    expect((await verify(db.admin)).fault).toBeNull()
    expect((await verify(db.admin, { head: head ?? { number: '', digest: '' } })).fault?.problem).toContain(
      'another one',
    )
  })

  it('says so when another key sealed', async () => {
    await appendAudit(db.as('ergon_worker'), job, '{}')
    expect(await seal(db, makeKey())).toMatchObject({ number: 4n })
    expect((await verify(db.admin)).fault).toMatchObject({ seal: '4', problem: expect.stringContaining('another key') })
  })

  it('signs nothing for a chain that it was told not to follow', async () => {
    await appendAudit(db.as('ergon_worker'), job, '{}')
    expect(await seal(db, key, () => false)).toBeNull()
    expect(await verify(db.admin)).toMatchObject({ seals: 3, unsealed: { count: 1 } })
  })
})

describe('a sealing worker', () => {
  it('seals what waits when it stops', async () => {
    await appendAudit(db.as('ergon_worker'), job, '{}')
    const sealer = new AuditSealer(db.as('ergon_worker'), key, createLogger('test', 'silent'))
    sealer.start()
    await sealer.stop()
    expect(await verify(db.admin)).toMatchObject({ seals: 4, unsealed: { count: 0 }, fault: null })
  })

  it('signs nothing in the place of a seal of its own that was cut off', async () => {
    const sealer = new AuditSealer(db.as('ergon_worker'), key, createLogger('test', 'silent'))
    await appendAudit(db.as('ergon_worker'), job, '{"bad": true}')
    await sealer.sealWaiting()
    await tamper(db.admin, 'delete from jobs.tb_audit_seal where number = 4')
    await tamper(db.admin, `update jobs.tb_audit set entry = '{"bad": false}' where entry = '{"bad": true}'`)
    await sealer.sealWaiting()
    expect(await verify(db.admin)).toMatchObject({ seals: 3, unsealed: { count: 1 } })
  })
})

describe('transactions that overlap', () => {
  it('are sealed when nothing older can come any more, whatever order they commit in', async () => {
    const [first, other] = [await db.as('ergon_worker').connect(), await db.as('ergon_worker').connect()]
    try {
      await first.query('begin')
      await first.query(`select jobs.append_audit($1, '{"first": true}')`, [job])
      await other.query('begin')
      await other.query(`select jobs.append_audit($1, '{"second": true}')`, [job])
      await first.query(`select jobs.append_audit($1, '{"third": true}')`, [job])
      await other.query('commit')
      expect(await sealAll(db)).toBe(0)
      await first.query('commit')
      expect(await sealAll(db)).toBe(3)
      expect(await verify(db.admin)).toMatchObject({ seals: 4, entries: 12, fault: null })
    } finally {
      first.release(true)
      other.release(true)
    }
  })

  it('are sealed once, however many workers try', async () => {
    const writers = Array.from({ length: 4 }, async () => {
      for (let at = 0; at < 30; at++) await appendAudit(db.as('ergon_worker'), job, `{"at": ${at}}`)
    })
    const sealers = Array.from({ length: 4 }, async () => {
      for (let at = 0; at < 30; at++) await seal(db)
    })
    await Promise.all([...writers, ...sealers])
    await sealAll(db)
    expect(await verify(db.admin)).toMatchObject({ entries: 129, unsealed: { count: 0 }, fault: null })
  })

  it('belong whole to one seal, also when they are larger than a seal would be', async () => {
    await db.admin.query(`insert into jobs.tb_audit (entry) select '{}' from generate_series(1, 2500)`)
    await appendAudit(db.as('ergon_worker'), job, '{}')
    expect(await seal(db)).toMatchObject({ entryCount: 2_500, isFull: true })
    expect(await seal(db)).toMatchObject({ entryCount: 1, isFull: false })
    expect((await verify(db.admin)).fault).toBeNull()
  })
})

describe('a trail that was restored into another cluster', () => {
  const clusterIs = (id: number) =>
    db.admin.query(
      `create or replace function jobs.cluster_id() returns bigint language plpgsql stable set search_path = pg_catalog, pg_temp
       as $$ begin return ${id}; end $$`,
    )

  it('is sealed to its end there, and goes on with the transactions of the new one', async () => {
    await clusterIs(4711)
    await appendAudit(db.as('ergon_worker'), job, '{"sealed": "there"}')
    expect(await seal(db)).toMatchObject({ number: 4n, entryCount: 1 })
    // Not sealed when the dump was taken, by transactions far ahead of those of the new cluster.
    await db.admin.query(
      `insert into jobs.tb_audit (xid, entry) select (1000000000000 + n)::text::xid8, '{}' from generate_series(1, 3) n`,
    )
    await clusterIs(4712)
    await appendAudit(db.as('ergon_worker'), job, '{"first": "here"}')
    expect(await seal(db)).toMatchObject({ number: 5n, entryCount: 3 })
    expect(await seal(db)).toMatchObject({ number: 6n, entryCount: 1 })
    expect(await seal(db)).toBeNull()
    expect(await verify(db.admin)).toMatchObject({ seals: 6, entries: 14, unsealed: { count: 0 }, fault: null })
  })
})

describe('an export', () => {
  async function verifyLines(change: (lines: string[]) => string[]) {
    const lines: string[] = []
    for await (const line of exportAudit(db.admin, null)) lines.push(line.trimEnd())
    async function* changed() {
      yield* change(lines)
    }
    let unsealed = 0
    const report = await verifyAuditTrail(
      readExport(changed(), 'trail.jsonl', (rows) => void (unsealed = rows.length)),
      {
        keys: new Map([[key.keyId, openVerifyingKey(key.publicKeyPem, 'test')]]),
        isFromBeginning: true,
        expectedHead: null,
      },
      () => ({ count: unsealed, oldest: null }),
    )
    return report
  }

  it('is checked without the database', async () => {
    await appendAudit(db.as('ergon_worker'), job, '{}')
    expect(await verifyLines((lines) => lines)).toMatchObject({
      seals: 3,
      entries: 9,
      unsealed: { count: 1 },
      fault: null,
    })
  })

  it.each<[string, (lines: string[]) => string[], string]>([
    [
      'altered',
      (lines) => lines.map((line, at) => (at === 5 ? line.replace('number', 'numbre') : line)),
      'was altered',
    ],
    ['left out', (lines) => lines.filter((_, at) => at !== 5), 'was deleted'],
    [
      'added',
      (lines) => lines.flatMap((line, at) => (at === 5 ? [line, line.replace('"seq":"', '"seq":"9')] : [line])),
      'was inserted',
    ],
  ])('shows an entry that was %s', async (_what, change, words) => {
    const { fault } = await verifyLines(change)
    expect(fault?.seal).toBe('2')
    expect(fault?.problem).toContain(words)
  })

  it('is refused when a line is none of ours', async () => {
    await expect(verifyLines((lines) => [...lines, 'x'])).rejects.toThrow('trail.jsonl:13 is no line of')
  })
})
