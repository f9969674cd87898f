import { type AuditRow, type AuditSeal, entriesDigest, digestOf, NO_SEAL, rowDigest, sealText } from './audit-chain.ts'

/** The first thing that is not as it was sealed. */
export interface AuditFault {
  /** The seal at fault, or the first one that is missing. */
  seal: string
  /** The row at fault as its `seq`, where one can be named. */
  seq: string | null
  problem: string
}

export interface VerifyAuditOptions {
  /** By key id. */
  keys: ReadonlyMap<string, { isSignatureOf(text: string, signature: Uint8Array): boolean }>
  /** Whether the first seal that is given must be the very first one. */
  isFromBeginning: boolean
}

/** Checks seals with their rows, one after the other; stops for good at the first fault. */
export class AuditVerifier {
  readonly #options: VerifyAuditOptions
  #last: AuditSeal | null = null
  readonly #sealedUpto = new Map<string, bigint>()

  constructor(options: VerifyAuditOptions) {
    this.#options = options
  }

  /** The newest seal that was found good. */
  get head(): AuditSeal | null {
    return this.#last
  }

  /** `rows` are all that lie in the seal's range, in the order (xid, seq). */
  check(seal: AuditSeal, rows: readonly AuditRow[]): AuditFault | null {
    const fault =
      this.#checkPlace(seal) ?? this.#checkSignature(seal) ?? this.#checkRange(seal, rows) ?? checkRows(seal, rows)
    if (fault === null) {
      this.#last = seal
      this.#sealedUpto.set(seal.cluster, BigInt(seal.upto_xid))
    }
    return fault
  }

  #checkPlace(seal: AuditSeal): AuditFault | null {
    const last = this.#last
    if (last === null && !this.#options.isFromBeginning) return null
    const next = BigInt(last?.number ?? 0) + 1n
    if (BigInt(seal.number) !== next)
      return {
        seal: String(next),
        seq: null,
        problem: `it is missing: seal ${seal.number} follows ${last?.number ?? 'the beginning'}`,
      }
    if (seal.previous_digest === (last?.digest ?? NO_SEAL)) return null
    return {
      seal: seal.number,
      seq: null,
      problem: `it continues another chain: the seal before it had the digest ${seal.previous_digest}, not ${last?.digest ?? NO_SEAL}`,
    }
  }

  #checkSignature(seal: AuditSeal): AuditFault | null {
    const fault = (problem: string): AuditFault => ({ seal: seal.number, seq: null, problem })
    const text = sealText({ ...seal, entries_digest: entriesDigest(seal.entry_digests) })
    const key = this.#options.keys.get(seal.key_id)
    if (key === undefined) return fault(`it is signed by another key: ${seal.key_id}`)
    if (digestOf(text) !== seal.digest) return fault('it was altered: its digest is not that of its fields')
    if (!key.isSignatureOf(text, Buffer.from(seal.signature, 'hex')))
      return fault('it was altered: its signature is not that of its fields')
    if (seal.entry_digests.length !== 64 * seal.entry_count)
      return fault(`it was altered: it counts ${seal.entry_count} entries and lists ${seal.entry_digests.length / 64}`)
    return null
  }

  #checkRange(seal: AuditSeal, rows: readonly AuditRow[]): AuditFault | null {
    const upto = this.#sealedUpto.get(seal.cluster)
    if (upto !== undefined && BigInt(seal.from_xid) !== upto)
      return {
        seal: seal.number,
        seq: null,
        problem: `its range begins at ${seal.from_xid}, the one before it ended at ${upto}`,
      }
    const stray = rows.find(
      ({ cluster, xid }) =>
        cluster !== seal.cluster || BigInt(xid) < BigInt(seal.from_xid) || BigInt(xid) >= BigInt(seal.upto_xid),
    )
    if (stray === undefined) return null
    return { seal: seal.number, seq: stray.seq, problem: `entry ${stray.seq} does not belong to the seal's range` }
  }
}

/** Compares row by row, so that the one at fault has a name. */
function checkRows(seal: AuditSeal, rows: readonly AuditRow[]): AuditFault | null {
  const sealed = Array.from({ length: seal.entry_count }, (_, at) => seal.entry_digests.slice(64 * at, 64 * (at + 1)))
  const found = rows.map(rowDigest)
  const at = Array.from({ length: Math.max(sealed.length, found.length) }).findIndex(
    (_, index) => sealed[index] !== found[index],
  )
  if (at < 0) return null
  const fault = (seq: string | null, problem: string): AuditFault => ({ seal: seal.number, seq, problem })
  const row = rows[at]
  const digest = found[at]
  const place = `entry ${at + 1} of ${sealed.length}`
  const isLaterSealed = digest !== undefined && sealed.indexOf(digest, at + 1) >= 0
  const isLaterFound = sealed[at] !== undefined && found.indexOf(sealed[at], at + 1) >= 0
  if (row === undefined || (isLaterSealed && !isLaterFound)) {
    const before = rows[at - 1]
    const behind = before === undefined ? 'the first' : `the one behind entry ${before.seq}`
    return fault(null, `${place} (${behind}) was deleted`)
  }
  if (isLaterFound && !isLaterSealed) return fault(row.seq, `entry ${row.seq} was inserted after the seal`)
  if (isLaterFound)
    return fault(row.seq, `entry ${row.seq} stands where another one stood: entries were put in another order`)
  if (sealed[at] === undefined) return fault(row.seq, `entry ${row.seq} was inserted after the seal`)
  return fault(row.seq, `entry ${row.seq} (${place}) was altered`)
}
