import { z } from 'zod'
import { digestOf, sealText } from '../domain/audit-chain.ts'
import type { DatabasePool } from '../platform/db/database.ts'
import { queryRows } from '../platform/db/database.ts'
import { inTransaction } from '../platform/db/transaction.ts'

/** Few enough that hashing them keeps a worker's one connection for moments. */
const MOST_ENTRIES = 1_000

const nextSchema = z.object({
  number: z.string(),
  cluster: z.string(),
  from_xid: z.string(),
  upto_xid: z.string(),
  entry_count: z.int(),
  entries_digest: z.string(),
  previous_digest: z.string(),
})
const addedSchema = z.object({ added: z.boolean() })

export interface Sealer {
  keyId: string
  sign(text: string): Buffer
}

export interface NewSeal {
  number: bigint
  digest: string
  entryCount: number
  /** Whether as many entries wait as one seal takes, so that another one is due at once. */
  isFull: boolean
}

/**
 * Seals the oldest entries that are committed for good and not sealed yet; null when there are none or another worker is
 * at it. `mayFollow` refuses a chain that is not the one it was: nothing is signed then.
 */
export function sealAudit(
  pool: DatabasePool,
  key: Sealer,
  now: Date,
  mayFollow: (number: bigint, previousDigest: string) => boolean,
): Promise<NewSeal | null> {
  return inTransaction(pool, async (db) => {
    const [next] = await queryRows(
      db,
      nextSchema,
      `select n.number::text, n.cluster::text, n.from_xid::text, n.upto_xid::text, n.entry_count,
              encode(n.entries_digest, 'hex') as entries_digest, encode(n.previous_digest, 'hex') as previous_digest
       from jobs.next_audit_seal($1) n`,
      [MOST_ENTRIES],
    )
    if (next === undefined || !mayFollow(BigInt(next.number), next.previous_digest)) return null
    const sealedAt = now.toISOString()
    const text = sealText({ ...next, sealed_at: sealedAt, key_id: key.keyId })
    const digest = digestOf(text)
    const [result] = await queryRows(
      db,
      addedSchema,
      'select jobs.add_audit_seal($1, $2, $3::text::xid8, $4::text::xid8, $5, $6, $7, $8) as added',
      [
        next.number,
        next.cluster,
        next.from_xid,
        next.upto_xid,
        sealedAt,
        key.keyId,
        Buffer.from(digest, 'hex'),
        key.sign(text),
      ],
    )
    if (result?.added !== true) return null
    return {
      number: BigInt(next.number),
      digest,
      entryCount: next.entry_count,
      isFull: next.entry_count >= MOST_ENTRIES,
    }
  })
}
