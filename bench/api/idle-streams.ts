import { setTimeout as sleep } from 'node:timers/promises'
import { EventReader } from '../../packages/server/src/testing/event-reader.ts'
import { type BenchContext, type Figure, figureOf } from '../bench.ts'
import { cpuTimeMs, residentMb } from '../processes.ts'

const STREAMS = 1_000
const BATCH = 100
/** Opened at a time: so many connections fit into the queue of a listening socket. */
const AT_ONCE = 50

/** What a thousand clients cost that each follow a job of their own in which nothing happens. */
export async function measureIdleStreams(
  api: { url: string; pid: number; token: string },
  job: object,
  { isQuick, progress }: BenchContext,
): Promise<Figure[]> {
  const ids = await submitIdle(api, job)
  // Code is compiled and pages are touched once, by whoever comes first.
  for (const reader of await openAll(api, ids.slice(0, AT_ONCE))) reader.close()
  await sleep(3_000)
  const before = residentMb(api.pid)
  const rssMb: number[] = []
  const cpuMs: number[] = []
  const rounds = isQuick ? 1 : 3
  for (let round = 0; round < rounds; round++) {
    progress(`${STREAMS} idle streams (${round + 1} of ${rounds})`)
    const readers = await openAll(api, ids)
    await Promise.all(readers.map((reader) => reader.until((r) => r.ofType('progress').length > 0, 60_000)))
    // Until the watcher has slowed down, and the first heartbeats were sent.
    await sleep(20_000)
    const [cpuBefore, startedMs] = [cpuTimeMs(api.pid), performance.now()]
    await sleep(10_000)
    cpuMs.push(((cpuTimeMs(api.pid) - cpuBefore) * 1_000) / (performance.now() - startedMs))
    // Memory once freed is not given back to the system at once, so later rounds stand beside the first moment too.
    rssMb.push(residentMb(api.pid) - before)
    if (readers.some(({ isOver }) => isOver)) throw new Error('a stream ended that had nothing to tell')
    for (const reader of readers) reader.close()
    await sleep(2_000)
  }
  return [
    figureOf('sse_rss_mb', rssMb, 'MB', { target: { comparison: '<=', bound: 60 } }),
    figureOf('sse_cpu_ms_per_s', cpuMs, 'ms/s'),
  ]
}

async function openAll({ url, token }: { url: string; token: string }, ids: readonly string[]): Promise<EventReader[]> {
  const readers: EventReader[] = []
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const some = ids.slice(at, at + AT_ONCE)
    readers.push(...(await Promise.all(some.map((id) => EventReader.open(`${url}/v1/jobs/${id}/events`, token)))))
  }
  const refused = readers.find(({ status }) => status !== 200)
  if (refused !== undefined) throw new Error(`a stream was refused: ${refused.status} ${refused.body}`)
  return readers
}

async function submitIdle({ url, token }: { url: string; token: string }, job: object): Promise<string[]> {
  const ids: string[] = []
  while (ids.length < STREAMS) {
    const answer = await fetch(`${url}/v1/jobs/batch`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ jobs: Array<object>(BATCH).fill(job) }),
    })
    const { items } = (await answer.json()) as { items: { job_id: string }[] }
    ids.push(...items.map(({ job_id }) => job_id))
  }
  return ids
}
