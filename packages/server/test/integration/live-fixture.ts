import type { JobOutputEvent } from '@ergon/contract'
import { expect } from 'vitest'
import type { ApiApp } from '../../src/api/api-app.ts'
import { createHttpApp } from '../../src/api/http-app.ts'
import { JobWatcher } from '../../src/api/live/job-watcher.ts'
import { OpenWaits } from '../../src/api/live/open-waits.ts'
import { STREAM_LIMITS, type StreamLimits } from '../../src/api/live/open-streams.ts'
import { TokenDirectory } from '../../src/api/token-directory.ts'
import { TenantDatabase } from '../../src/platform/db/tenant-database.ts'
import { appendOutput } from '../../src/queue/append-output.ts'
import { registerServices } from '../../src/queue/register-services.ts'
import type { ClaimedJob } from '../../src/queue/types.ts'
import { EventReader } from '../../src/testing/event-reader.ts'
import { startTestApi, TENANT_A, type TestApi } from './api-fixture.ts'
import { insertJob, registrationOf, startWorker, type TestWorker } from './queue-fixture.ts'

/** Two HTTP sides on one database, as two API processes are, and a worker. */
export interface LiveTest {
  api: TestApi
  other: ApiApp
  worker: TestWorker
  url(jobId: string, process?: number): string
  follow(jobId: string, lastId?: string, process?: number): Promise<EventReader>
  runningJob(): Promise<ClaimedJob>
  /** Prints texts one after the other, as a worker does; gives where the next one begins. */
  print(job: ClaimedJob, stream: 'stdout' | 'stderr', from: number, ...texts: string[]): Promise<number>
  close(): Promise<void>
}

export async function startLiveTest(
  limits: Partial<StreamLimits> = {},
  otherLimits: Partial<StreamLimits> = {},
): Promise<LiveTest> {
  const api = await startTestApi({ streamLimits: { ...STREAM_LIMITS, ...limits } })
  const watcher = new JobWatcher(new TenantDatabase(api.pool, 'all'), () => {})
  const streamLimits = { ...STREAM_LIMITS, ...otherLimits }
  const own = { watcher, waits: new OpenWaits(), tokens: new TokenDirectory(api.pool), streamLimits }
  const other = await createHttpApp({ ...api.context, ...own })
  const listen = { host: '127.0.0.1', port: 0 }
  const urls = [await api.app.listen(listen), await other.listen(listen)]
  const worker = await startWorker(api.db.admin)
  await registerServices(api.db.admin, worker.id, [registrationOf({})])
  const url: LiveTest['url'] = (jobId, process = 0) => `${urls[process]}/v1/jobs/${jobId}/events`
  return {
    api,
    other,
    worker,
    url,
    follow: (jobId, lastId = '', process = 0) => EventReader.open(url(jobId, process), api.tokens.a, lastId),
    async runningJob() {
      await insertJob(api.db.admin, { tenant_id: TENANT_A })
      return worker.claimOne()
    },
    async print(job, stream, from, ...texts) {
      let offset = from
      for (const text of texts) {
        await appendOutput(api.db.as('ergon_worker'), { ...job, stream, offset, text })
        offset += Buffer.byteLength(text)
      }
      return offset
    },
    async close() {
      watcher.stop()
      await other.close()
      await api.close()
    },
  }
}

/** The text of a stream from its events; each must begin where the one before ended, or anew. */
export function glue(events: readonly { type: string; data: unknown }[], stream: 'stdout' | 'stderr'): string {
  let texts: string[] = []
  let bytes = 0
  for (const { type, data } of events) {
    if (type !== stream) continue
    const piece = data as JobOutputEvent
    if (piece.offset === 0) [texts, bytes] = [[], 0]
    expect(piece.offset).toBe(bytes)
    texts.push(piece.text)
    bytes += Buffer.byteLength(piece.text)
  }
  return texts.join('')
}
