import type { Database } from '../platform/db/database.ts'
import type { Logger } from '../platform/logger.ts'
import { IntervalLoop } from '../platform/process/interval-loop.ts'
import { promoteJobs } from '../queue/promote.ts'
import { rescueJobs } from '../queue/rescue.ts'

const INTERVAL_MS = 1_000

/** Every second: jobs whose time has come become ready, jobs of lost workers are rescued. Any number of workers may run it. */
export function createMaintenanceLoop(db: Database, logger: Logger): IntervalLoop {
  return new IntervalLoop({
    intervalMs: INTERVAL_MS,
    async turn() {
      await promoteJobs(db)
      const { retried, failed } = await rescueJobs(db)
      if (retried + failed > 0) logger.warn({ retried, failed }, 'jobs of lost workers were rescued')
    },
    onError: (error) => logger.warn({ err: error }, 'maintenance failed; trying again'),
  })
}
