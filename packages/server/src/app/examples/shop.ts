import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Artifact } from '@ergon/contract'
import { z } from 'zod'
import type { Database, DatabasePool } from '../../platform/db/database.ts'
import { inTransaction } from '../../platform/db/transaction.ts'
import type { ControlPlane } from '../create-control-plane.ts'
import { requireThat } from './example-step.ts'

const POLL_MS = 25
/** Of a machine that is busy with other things. */
const PATIENCE_MS = 120_000

export interface NewOrder {
  customerName: string
  product: string
  quantity: number
  total: string
  picture: string
}

const orderSchema = z.object({
  id: z.string(),
  customer_name: z.string(),
  payment_status: z.string(),
  payment_error: z.string().nullable(),
  charge_id: z.string().nullable(),
  invoice_number: z.string().nullable(),
  stock_exported_at: z.date().nullable(),
  thumbnail_made_at: z.date().nullable(),
})
export type Order = z.infer<typeof orderSchema>

const placedSchema = z.object({ order: z.string(), job: z.string() })
export type Placed = z.infer<typeof placedSchema>

/** The application of the example: it calls its compiled functions and reads its own table, and knows of jobs by their ids. */
export class Shop {
  readonly db: DatabasePool
  readonly #control: ControlPlane
  readonly #signal: AbortSignal

  constructor(db: DatabasePool, control: ControlPlane, signal: AbortSignal) {
    this.db = db
    this.#control = control
    this.#signal = signal
  }

  /** Puts tables and compiled functions in their places; a second time changes nothing. */
  async migrate(texts: readonly string[]): Promise<void> {
    await inTransaction(this.db, async (db) => {
      for (const text of texts) await db.query(text)
    })
  }

  async place(db: Database, { customerName, product, quantity, total, picture }: NewOrder): Promise<Placed> {
    const values = [customerName, product, quantity, total, picture]
    const { rows } = await db.query('select commerce.place_order($1, $2, $3, $4, $5) as placed', values)
    return z.object({ placed: placedSchema }).parse(rows[0]).placed
  }

  async pay(order: string): Promise<string> {
    const { rows } = await this.db.query('select commerce.pay_order($1) as job', [order])
    return z.object({ job: z.string() }).parse(rows[0]).job
  }

  async makeThumbnail(order: string): Promise<string> {
    const { rows } = await this.db.query('select commerce.make_thumbnail($1) as job', [order])
    return z.object({ job: z.string() }).parse(rows[0]).job
  }

  async find(id: string): Promise<Order | null> {
    const { rows } = await this.db.query('select * from commerce.orders where id = $1', [id])
    return rows[0] === undefined ? null : orderSchema.parse(rows[0])
  }

  async countOrders(): Promise<number> {
    return countOf(await this.db.query('select count(*)::integer as count from commerce.orders'))
  }

  /** What else there is: these orders as they are, and every table and function of the application and of Ergon. */
  async fingerprint(orders: readonly string[]): Promise<string> {
    const { rows } = await this.db.query(
      `select md5(concat(
         (select string_agg(o::text, ',' order by o.id) from commerce.orders o where o.id = any($1)),
         (select string_agg(concat(c.oid, c.relkind, c.relname), ',' order by c.oid)
          from pg_class c
          where c.relnamespace in ('commerce'::regnamespace, 'jobs'::regnamespace)
            and c.relkind in ('r', 'p', 'v') and not c.relispartition),
         (select string_agg(concat(p.oid, p.proname, md5(p.prosrc)), ',' order by p.oid)
          from pg_proc p where p.pronamespace in ('commerce'::regnamespace, 'jobs'::regnamespace)))) as fingerprint`,
      [orders],
    )
    return z.object({ fingerprint: z.string() }).parse(rows[0]).fingerprint
  }

  /** Jobs of an order, all of them or of one operation. */
  async countJobs(db: Database, order: string, operation: string | null = null): Promise<number> {
    return countOf(
      await db.query(
        `select count(*)::integer as count from jobs.tb_job_run
         where entity_type = 'Order' and entity_pk = $1 and ($2::text is null or operation = $2)`,
        [order, operation],
      ),
    )
  }

  /** The job that a callback put into the queue. */
  async jobOf(order: string, operation: string): Promise<string> {
    const { rows } = await this.db.query(
      `select id from jobs.tb_job_run where entity_type = 'Order' and entity_pk = $1 and operation = $2`,
      [order, operation],
    )
    requireThat(rows.length === 1, `order ${order} has ${rows.length} jobs of the operation ${operation}, expected one`)
    return z.object({ id: z.string() }).parse(rows[0]).id
  }

  /** The row once it is so; throws what is in the way, as far as jobs and callbacks say it. */
  async until(id: string, what: string, isTrue: (order: Order) => boolean, mayFail = false): Promise<Order> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      this.#signal.throwIfAborted()
      const order = await this.find(id)
      requireThat(order !== null, `order ${id} was deleted while it was waited for`)
      if (isTrue(order)) return order
      const obstacle = await this.#obstacleOf(id)
      requireThat(mayFail || obstacle === null, `${what}: ${obstacle ?? ''}`)
      requireThat(performance.now() < deadline, `${what}: not so after ${PATIENCE_MS / 1_000} s`)
      await sleep(POLL_MS)
    }
  }

  /** The one artifact of a job, with its bytes, which were compared with its digest. */
  async artifactOf(job: string): Promise<{ artifact: Artifact; bytes: Buffer }> {
    const [artifact, ...others] = await this.#control.listArtifacts(job)
    requireThat(artifact !== undefined && others.length === 0, `job ${job} has not one artifact`)
    return { artifact, bytes: await buffer(await this.#control.openArtifact(artifact.digest)) }
  }

  async #obstacleOf(order: string): Promise<string | null> {
    const { rows } = await this.db.query(
      `select format('job %s failed: %s', id, error_message) as obstacle from jobs.tb_job_run
       where entity_type = 'Order' and entity_pk = $1 and status in ('failed', 'cancelled')
       union all
       select format('callback %s of job %s failed: %s', c.callback_id, c.job_id, c.last_error)
       from jobs.v_job_callback c join jobs.tb_job_run j on j.id = c.job_id
       where j.entity_type = 'Order' and j.entity_pk = $1 and c.state = 'failed'
       limit 1`,
      [order],
    )
    return rows[0] === undefined ? null : z.object({ obstacle: z.string() }).parse(rows[0]).obstacle
  }
}

function countOf({ rows }: { rows: unknown[] }): number {
  return z.object({ count: z.number() }).parse(rows[0]).count
}
