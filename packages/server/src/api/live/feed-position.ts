import type { TrailPosition } from '../../control/job-ends.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'

const ID = /^1\.(-?\d{1,19})\.(\d{1,19})\.(\d{1,18})$/

export function formatFeedPosition({ cluster, xid, seq }: TrailPosition): string {
  return `1.${cluster}.${xid}.${seq}`
}

/** Throws EVENT_ID_INVALID for what no feed gave: to begin at this moment unasked would leave out what the reader asks for. */
export function parseFeedPosition(text: string): TrailPosition {
  const [, cluster, xid, seq] = ID.exec(text) ?? []
  const isNumber = cluster !== undefined && BigInt.asIntN(64, BigInt(cluster)) === BigInt(cluster)
  if (!isNumber || xid === undefined || seq === undefined)
    throw new ErgonError(
      'EVENT_ID_INVALID',
      `Last-Event-ID: ${JSON.stringify(text.slice(0, 100))} is no id of this feed; leave it out to begin at this moment`,
    )
  return { cluster, xid: BigInt(xid), seq: BigInt(seq) }
}

/** Whether a place is behind another one of the same cluster. */
export function isBehind(a: TrailPosition, b: TrailPosition): boolean {
  return a.cluster === b.cluster && (a.xid < b.xid || (a.xid === b.xid && a.seq < b.seq))
}
