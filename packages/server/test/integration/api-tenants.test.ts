import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TenantDatabase } from '../../src/platform/db/tenant-database.ts'
import { as, payload, startTestApi, TENANT_A, TENANT_B, type TestApi } from './api-fixture.ts'
import { insertJob, startWorker } from './queue-fixture.ts'

let api: TestApi
beforeAll(async () => {
  api = await startTestApi()
})
afterAll(() => api.close())

const submit = async (token: string, body: object = payload()) => {
  const answer = await api.app.inject({ method: 'POST', url: '/v1/jobs', ...as(token), payload: body })
  return { status: answer.statusCode, body: answer.json<Record<string, unknown>>() }
}

/** A job of a tenant with something in every table that has to do with jobs. */
async function jobWithEverything(tenantId: string | null): Promise<string> {
  const id = await insertJob(api.db.admin, { tenant_id: tenantId, execution_type: 'sandbox', service_name: 'executor' })
  await api.db.admin.query(
    `insert into jobs.tb_job_output (job_id, attempt, stream, "offset", bytes) values ($1, 1, 'stdout', 0, 'secret')`,
    [id],
  )
  await api.db.admin.query(
    `insert into jobs.tb_job_attempt (job_id, attempt, outcome, ended_at, failure) values ($1, 1, 'failed', now(), '{}')`,
    [id],
  )
  await api.db.admin.query(`insert into jobs.tb_late_result (job_id, operation) values ($1, 'complete')`, [id])
  await api.db.admin.query(
    `insert into jobs.tb_artifact (artifact_id, job_id, attempt, tenant_id, kind, format, name, digest, size_bytes, content_type)
     values (gen_random_uuid(), $1, 1, $2, 'plot', 'png', 'p.png', 'sha256:' || repeat('0', 64), 1, 'image/png')`,
    [id, tenantId],
  )
  await api.db.admin.query(`insert into jobs.tb_audit (job_id, entry) values ($1, '{}')`, [id])
  return id
}

const TENANT_TABLES = [
  'tb_job_run',
  'tb_job_queue',
  'tb_artifact',
  'tb_job_output',
  'tb_job_attempt',
  'tb_late_result',
  'tb_audit',
]
const idColumn = (table: string) => (table === 'tb_job_run' ? 'id' : 'job_id')

/** How many rows of a job a database shows, by table. */
async function rowsOf(db: { query: TenantDatabase['query'] }, id: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const table of TENANT_TABLES) {
    const { rows } = await db.query(`select ${idColumn(table)} from jobs.${table} where ${idColumn(table)} = $1`, [id])
    counts[table] = rows.length
  }
  return counts
}

const ALL = Object.fromEntries(TENANT_TABLES.map((table) => [table, 1]))
const NONE = Object.fromEntries(TENANT_TABLES.map((table) => [table, 0]))

describe('the database, asked by the API', () => {
  it('shows a tenant its own rows of every table, and nothing of anybody else', async () => {
    const [ofA, ofNobody] = [await jobWithEverything(TENANT_A), await jobWithEverything(null)]
    expect(await rowsOf(new TenantDatabase(api.pool, { tenantId: TENANT_A }), ofA)).toEqual(ALL)
    for (const id of [ofA, ofNobody])
      expect(await rowsOf(new TenantDatabase(api.pool, { tenantId: TENANT_B }), id)).toEqual(NONE)
    for (const id of [ofA, ofNobody]) expect(await rowsOf(new TenantDatabase(api.pool, 'all'), id)).toEqual(ALL)
  })

  it('shows nothing to whoever does not say whose it is', async () => {
    const id = await jobWithEverything(TENANT_A)
    expect(await rowsOf(api.pool, id)).toEqual(NONE)
    expect(await rowsOf(api.db.as('ergon_api'), id)).toEqual(NONE)
  })

  // That these tests would notice is shown by taking the policies away.
  it.each(TENANT_TABLES)('would show jobs.%s to everybody without its policy', async (table) => {
    const id = await jobWithEverything(TENANT_A)
    const admin = await api.db.admin.connect()
    try {
      await admin.query('begin')
      await admin.query(`drop policy tenant on jobs.${table}`)
      // What hangs on the job's row hangs on its policy too.
      await admin.query('set local role ergon_api')
      await admin.query(`set local ergon.tenant = '${TENANT_B}'`)
      const { rows } = await admin.query(`select ${idColumn(table)} from jobs.${table} where ${idColumn(table)} = $1`, [
        id,
      ])
      expect(rows).toHaveLength(1)
    } finally {
      await admin.query('rollback')
      admin.release()
    }
  })

  it('refuses rows for another tenant, however they are written', async () => {
    const asA = new TenantDatabase(api.pool, { tenantId: TENANT_A })
    const insert = (tenant: string | null) =>
      asA.query(
        `insert into jobs.tb_job_run (identifier, service_name, operation, tenant_id) values ($1, 's', 'o', $2)`,
        [randomUUID(), tenant],
      )
    await expect(insert(TENANT_A)).resolves.toMatchObject({ rowCount: 1 })
    await expect(insert(TENANT_B)).rejects.toMatchObject({ code: '42501' })
    await expect(insert(null)).rejects.toMatchObject({ code: '42501' })
    const ofB = await insertJob(api.db.admin, { tenant_id: TENANT_B })
    const cancelled = await asA.query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [ofB])
    expect(cancelled.rowCount).toBe(0)
    await expect(
      asA.query(
        `insert into jobs.tb_api_idempotency (tenant_id, idempotency_key, fingerprint, job_ids)
      values ($1, 'k', sha256('x'), '{}')`,
        [TENANT_B],
      ),
    ).rejects.toMatchObject({ code: '42501' })
  })

  it('forgets whose it was with each transaction', async () => {
    const pool = api.db.as('ergon_api')
    const client = await pool.connect()
    try {
      await client.query('begin')
      await client.query(`set local ergon.tenant = '${TENANT_A}'`)
      await client.query('commit')
      expect((await client.query('select count(*)::int as count from jobs.tb_job_run')).rows).toEqual([{ count: 0 }])
    } finally {
      client.release()
    }
  })

  it('lets applications, the owner and workers see what they saw', async () => {
    const id = await insertJob(api.db.as('ergon_enqueue'), { tenant_id: TENANT_B })
    const { rows } = await api.db.as('ergon_enqueue').query('select id from jobs.tb_job_run where id = $1', [id])
    expect(rows).toHaveLength(1)
    const worker = await startWorker(api.db.as('ergon_worker'))
    expect((await worker.claim(1_000)).map((job) => job.id)).toContain(id)
  })
})

describe('a plan', () => {
  it('for a list, and for output of a job, reads no more than that', async () => {
    const plan = async (text: string) => {
      const client = await api.pool.connect()
      try {
        await client.query(`begin; set local ergon.tenant = '${TENANT_A}'; set local enable_seqscan = off`)
        const { rows } = await client.query<{ 'QUERY PLAN': string }>(`explain ${text}`)
        return rows.map((row) => row['QUERY PLAN']).join('\n')
      } finally {
        await client.query('rollback')
        client.release()
      }
    }
    const list = 'select id from jobs.tb_job_run'
    expect(await plan(`${list} where tenant_id = '${TENANT_A}' order by created_at desc limit 5`)).toContain(
      'ix_job_run_tenant_created',
    )
    expect(await plan(`${list} order by created_at desc, id desc limit 5`)).toContain('ix_job_run_newest')
    const output = await plan(`select * from jobs.tb_job_output where job_id = '${randomUUID()}'`)
    expect(output).toMatch(/tb_job_run_pkey/)
    expect(output).not.toMatch(/hashed/)
  })
})

describe('a tenant’s token', () => {
  it('finds its own jobs and nobody else’s, by whatever way', async () => {
    const { body } = await submit(api.tokens.a)
    const id = String(body['job_id'])
    expect(body['tenant_id']).toBe(TENANT_A)
    const ways = [
      ['GET', `/v1/jobs/${id}`, 404],
      ['POST', `/v1/jobs/${id}/cancel`, 404],
      ['POST', `/v1/jobs/${id}/retry`, 404],
    ] as const
    for (const [method, url, status] of ways) {
      const answer = await api.app.inject({ method, url, ...as(api.tokens.b) })
      expect({ url, status: answer.statusCode }).toEqual({ url, status })
      expect(answer.body).not.toContain(TENANT_A)
    }
    // A tenant that does not exist is told the same as one that does.
    const nobody = await api.app.inject({ method: 'GET', url: `/v1/jobs/${randomUUID()}`, ...as(api.tokens.b) })
    expect(nobody.json()).toMatchObject({ code: 'JOB_NOT_FOUND' })
    for (const query of ['', `?tenant_id=${TENANT_A}`, '?service=executor&limit=500']) {
      const page = await api.app.inject({ method: 'GET', url: `/v1/jobs${query}`, ...as(api.tokens.b) })
      expect(page.json<{ items: { tenant_id: string }[] }>().items.filter((job) => job.tenant_id !== TENANT_B)).toEqual(
        [],
      )
    }
    expect((await api.app.inject({ method: 'GET', url: `/v1/jobs/${id}`, ...as(api.tokens.a) })).statusCode).toBe(200)
    expect((await api.app.inject({ method: 'GET', url: `/v1/jobs/${id}`, ...as(api.tokens.all) })).statusCode).toBe(200)
  })

  it('submits for its own tenant alone', async () => {
    expect(await submit(api.tokens.a, payload({ workspace_id: TENANT_B }))).toMatchObject({
      status: 403,
      body: { code: 'TENANT_MISMATCH' },
    })
    expect(await submit(api.tokens.a, payload({ workspace_id: TENANT_A }))).toMatchObject({ status: 201 })
    const call = { service: 'echo', operation: 'say', input: { words: 'hello' }, tenant_id: TENANT_B }
    expect(await submit(api.tokens.a, call)).toMatchObject({ status: 403 })
    expect(await submit(api.tokens.all, call)).toMatchObject({ status: 201, body: { tenant_id: TENANT_B } })
  })

  it('cannot take over, or learn the input of, a job whose id it knows', async () => {
    const { body } = await submit(api.tokens.a)
    const again = await submit(api.tokens.b, payload({ job_id: String(body['job_id']) }))
    expect(again).toMatchObject({ status: 409, body: { code: 'JOB_EXISTS' } })
    expect(JSON.stringify(again.body)).not.toContain(TENANT_A)
  })

  it('sees and retries the callbacks of its own jobs alone', async () => {
    await api.db.admin.query(
      `insert into jobs.tb_callback (entity, service, operation, success_schema, success_function)
       values ('thing', 'stripe', 'charge', 'public', 'told') on conflict do nothing`,
    )
    const id = await insertJob(api.db.admin, { tenant_id: TENANT_A, entity_type: 'thing', entity_pk: '1' })
    await api.db.admin.query(
      `insert into jobs.tb_job_callback (registration_id, job_id, outcome, tenant_id, entity_pk, output_data)
       select registration_id, $1, 'success', $2, '1', '{}' from jobs.tb_callback where entity = 'thing'`,
      [id, TENANT_A],
    )
    const list = async (token: string) =>
      (await api.app.inject({ method: 'GET', url: '/v1/callbacks', ...as(token) })).json<{
        items: { callback_id: string }[]
      }>().items
    const [mine] = await list(api.tokens.a)
    expect(mine).toMatchObject({ job_id: id, state: 'waiting', service: 'stripe' })
    expect(await list(api.tokens.b)).toEqual([])
    const retry = (token: string) =>
      api.app.inject({ method: 'POST', url: `/v1/callbacks/${mine?.callback_id}/retry`, ...as(token) })
    expect((await retry(api.tokens.b)).statusCode).toBe(404)
    expect((await retry(api.tokens.a)).json()).toEqual({ outcome: 'queued' })
  })

  it('has idempotency keys of its own', async () => {
    const key = { 'idempotency-key': randomUUID() }
    const send = (token: string) =>
      api.app.inject({
        method: 'POST',
        url: '/v1/jobs',
        ...as(token, key),
        payload: { service: 'echo', operation: 'say', input: { words: 'x' } },
      })
    const [ofA, ofB, againA] = [await send(api.tokens.a), await send(api.tokens.b), await send(api.tokens.a)]
    expect(ofB.json()).toMatchObject({ tenant_id: TENANT_B })
    expect(againA.json<{ job_id: string }>().job_id).toBe(ofA.json<{ job_id: string }>().job_id)
    expect(againA.headers['idempotency-replayed']).toBe('true')
    expect(ofB.headers['idempotency-replayed']).toBeUndefined()
  })
})
