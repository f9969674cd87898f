import type { EnvironmentSummary, ExecutorHealth } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../../platform/db/database.ts'
import { FACADE_ENVIRONMENT } from './compose-job.ts'

const BACKEND = 'ergon'
const LANE = 'sandbox'
/** Anybody may ask, so the database is asked seldom. */
const REMEMBERED_MS = 1_000

const rowSchema = z.object({ serves: z.boolean() })

interface Sources {
  /** Sees every tenant: workers belong to none. */
  db: Database
  listEnvironments(): Promise<EnvironmentSummary[]>
  seesEnvironments: boolean
}

/** Gives whether code could run at this moment, as far as it can be seen from here; never throws. */
export function watchExecutor(sources: Sources, now: () => number = () => performance.now()) {
  let last: { at: number; health: Promise<ExecutorHealth> } | null = null
  return (): Promise<ExecutorHealth> => {
    if (last === null || now() - last.at > REMEMBERED_MS) last = { at: now(), health: examine(sources) }
    return last.health
  }
}

async function examine({ db, listEnvironments, seesEnvironments }: Sources): Promise<ExecutorHealth> {
  try {
    if (seesEnvironments && !(await listEnvironments()).some(({ name }) => name === FACADE_ENVIRONMENT))
      return unavailable(
        `the environment ${FACADE_ENVIRONMENT} is not built: \`ergon env build ${FACADE_ENVIRONMENT}\``,
      )
    const [row] = await queryRows(
      db,
      rowSchema,
      `select exists (
         select from jobs.tb_job_worker w where $1 = any (w.lanes) and not w.draining and w.heartbeat_at > now() - w.lease
       ) as serves`,
      [LANE],
    )
    return row?.serves === true ? { status: 'ok', backend: BACKEND } : unavailable('no worker serves sandboxed jobs')
  } catch {
    return unavailable('the database does not answer')
  }
}

function unavailable(reason: string): ExecutorHealth {
  return { status: 'unavailable', backend: BACKEND, reason }
}
