import fastify from 'fastify'
import { createPool } from '../../packages/server/src/platform/db/database.ts'

/** The floor: fastify and a pool, no checks, no tenants, no tokens. One INSERT of the row that was posted, one SELECT by id. */
const db = createPool(process.argv[2] ?? '', { maxConnections: 10, applicationName: 'ergon-bench-bare' })
const app = fastify()

const COLUMNS = `id uuid, identifier text, service_name text, operation text, input_data jsonb, execution_type text, max_attempts integer,
  timeout_seconds integer, tenant_id uuid, run_at timestamptz`

app.post('/jobs', async (request, reply) => {
  const { rows } = await db.query(
    `insert into jobs.tb_job_run (${COLUMNS.replaceAll(/ (uuid|text|jsonb|integer|timestamptz)/g, '')})
     select * from jsonb_to_record($1::jsonb) as g(${COLUMNS}) returning *`,
    [
      JSON.stringify({
        ...(request.body as object),
        id: crypto.randomUUID(),
        identifier: `bare_${crypto.randomUUID()}`,
      }),
    ],
  )
  return reply.code(201).send(rows[0])
})

app.get<{ Params: { id: string } }>('/jobs/:id', async (request) => {
  const { rows } = await db.query('select * from jobs.tb_job_run where id = $1', [request.params.id])
  return rows[0]
})

process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`)
