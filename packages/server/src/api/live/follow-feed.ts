import { setTimeout as sleep } from 'node:timers/promises'
import type { JobFeedFilter, JobSummary } from '@ergon/contract'
import type { EndsReading, TrailPosition } from '../../control/job-ends.ts'
import type { Caller } from '../api-app.ts'
import type { EventStream } from './event-stream.ts'
import { formatFeedPosition } from './feed-position.ts'
import { type JobFeed, readPage } from './job-feed.ts'
import { Latch } from './latch.ts'
import type { Turns } from '../turns.ts'

const AWAY_MS = 1_000
const MAX_FAILURES = 60
const MAX_REST_MS = 1_000
/** How often a reader that everything is filtered away from is told where it is. */
const MARK_MS = 10_000

export interface FeedSource {
  caller: Caller
  feed: JobFeed
  turns: Turns
  catchUps: Turns
  filter: JobFeedFilter
  onError(error: unknown): void
}

/** Tells a stream every end of an attempt behind a position that the filter lets through, until the stream is over. */
export async function followFeed(
  stream: EventStream,
  source: FeedSource,
  from: TrailPosition,
  now: TrailPosition,
): Promise<void> {
  const { caller, feed, filter } = source
  const scope = caller.principal.tenant
  const changed = new Latch()
  const stop = feed.listen(scope, caller.db, now, () => changed.open())
  stream.onClose(() => changed.open())
  let position = from
  let markedAt = -Infinity
  let isFarBehind = false
  let failures = 0
  try {
    while (!stream.isOver && failures < MAX_FAILURES) {
      try {
        const reading: EndsReading | null =
          feed.kept(scope, position) ?? (await readBehind(stream, source, position, isFarBehind))
        if (reading === null) return
        isFarBehind = reading.hasMore
        failures = 0
        for (const { position: at, data } of reading.ends) {
          if (!matches(filter, data.job)) continue
          if (!(await stream.send({ type: data.event, id: formatFeedPosition(at), data }))) return
          position = at
          markedAt = performance.now()
        }
        const isAhead = formatFeedPosition(reading.next) !== formatFeedPosition(position)
        position = reading.next
        // At once too: who is cut off before the first event comes back to this place.
        if (markedAt === -Infinity || (isAhead && performance.now() - markedAt > MARK_MS)) {
          await stream.mark(formatFeedPosition(position))
          markedAt = performance.now()
        }
        if (!reading.hasMore && reading.ends.length === 0) await changed.pass()
      } catch (error) {
        // The stream outlives a database that is away.
        if (failures++ === 0) source.onError(error)
        await sleep(AWAY_MS * (0.5 + Math.random()))
      }
    }
  } finally {
    stop()
    stream.end()
  }
}

/**
 * A page from the database, null when nobody waits for it any more. Whoever is more than a page behind reads on one at a
 * time, over all feeds of the process, and rests as long as a page took: a trail of years keeps neither the database nor
 * the other streams from their work. How far back an id may be is not bounded, since a reader may have been away for long
 * and is owed every end, and an id that is old is as good as one that was made up.
 */
async function readBehind(
  stream: EventStream,
  { caller, turns, catchUps }: FeedSource,
  position: TrailPosition,
  isFarBehind: boolean,
): Promise<EndsReading | null> {
  const read = async () => (stream.isOver ? null : readPage(caller.db, position))
  const { tokenId } = caller.principal
  if (!isFarBehind) return turns.take(tokenId, read)
  return catchUps.take(tokenId, async () => {
    const begun = performance.now()
    const reading = await read()
    if (reading?.hasMore === true) await sleep(Math.min(performance.now() - begun, MAX_REST_MS))
    return reading
  })
}

/** What each filter compares, as lists do it: names of services and operations without case. */
const FILTERED: Readonly<Record<keyof JobFeedFilter, (job: JobSummary) => string | null>> = {
  execution_type: ({ execution_type }) => execution_type,
  service: ({ service }) => service.toLowerCase(),
  operation: ({ operation }) => operation.toLowerCase(),
  tenant_id: ({ tenant_id }) => tenant_id,
  correlation_id: ({ correlation_id }) => correlation_id,
  entity_type: ({ entity_type }) => entity_type,
  entity_pk: ({ entity_pk }) => entity_pk,
}
const WITHOUT_CASE: ReadonlySet<string> = new Set<keyof JobFeedFilter>(['service', 'operation', 'tenant_id'])

function matches(filter: JobFeedFilter, job: JobSummary): boolean {
  return Object.entries(filter).every(([name, wanted]) => {
    const value = FILTERED[name as keyof JobFeedFilter](job)
    return value === (WITHOUT_CASE.has(name) ? wanted.toLowerCase() : wanted)
  })
}
