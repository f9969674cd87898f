import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

/** Why a job has not started. */
export interface JobWait {
  state: string
  lane: string
  /** What the job stands behind: `limit:<service>`, or a gate of its row. */
  gate: string | null
  reason: string
  /** When that is over, as far as it is known. */
  until: Date | null
}

const waitSchema = z
  .object({
    state: z.string(),
    lane: z.string(),
    gate: z.string().nullable(),
    reason: z.string(),
    // A limit of 0 never opens: PostgreSQL says infinity, which is no date.
    waits_until: z.date().nullable().catch(null),
  })
  .transform(({ waits_until: until, ...wait }): JobWait => ({ ...wait, until }))

/** Why the job waits at this moment; null when it does not. */
export async function explainWait(db: Database, id: string): Promise<JobWait | null> {
  const rows = await queryRows(
    db,
    waitSchema,
    'select state, lane, gate, reason, waits_until from jobs.explain_wait($1)',
    [id],
  )
  return rows[0] ?? null
}

const tenantWaitSchema = z.object({
  job_id: z.string(),
  gate: z.string().nullable(),
  reason: z.string(),
  waits_until: z.date().nullable().catch(null),
})

/** Why jobs that the caller's tenant has wait at this moment, by id; those that do not wait are left out. */
export async function explainTenantWaits(
  db: Database,
  ids: readonly string[],
): Promise<Map<string, Pick<JobWait, 'gate' | 'reason' | 'until'>>> {
  const rows = await queryRows(
    db,
    tenantWaitSchema,
    'select job_id, gate, reason, waits_until from jobs.explain_tenant_waits($1)',
    [ids],
  )
  return new Map(rows.map(({ job_id, gate, reason, waits_until: until }) => [job_id, { gate, reason, until }]))
}

export interface WaitingService {
  service: string
  lane: string
  jobs: number
  reason: string
}

const waitingServiceSchema = z.object({
  service: z.string(),
  lane: z.string(),
  jobs: z.number(),
  reason: z.string(),
})

/** Services whose due jobs no worker can start at this moment, and why; at most 50. Reads the live queue once. */
export async function listWaitingServices(db: Database): Promise<WaitingService[]> {
  return queryRows(
    db,
    waitingServiceSchema,
    `select * from (
       select q.service, q.lane, count(*)::int as jobs,
              case
                when not exists (select from jobs.tb_worker_service k where k.service = q.service)
                  then 'no worker knows the service'
                when not exists (select from jobs.tb_job_worker w where not w.draining and q.lane = any (w.lanes))
                  then 'no worker serves the lane'
                else max(c.gated_by)
              end as reason
       from jobs.tb_job_queue q
       left join jobs.closed_services() c on c.service = q.service
       where q.state in ('ready', 'gated')
       group by q.service, q.lane
     ) waiting
     where reason is not null
     order by jobs desc, service, lane
     limit 50`,
    [],
  )
}
