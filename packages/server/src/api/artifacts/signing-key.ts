import { z } from 'zod'
import { type Database, queryRows } from '../../platform/db/database.ts'

/** How long a key is used after another one has taken its place. */
const TRUST_MS = 60_000

const rowSchema = z.object({ key: z.instanceof(Buffer) })

/** Gives the newest key of the database, asked for once a minute. */
export function signingKeyOf(db: Database, now: () => number = () => performance.now()): () => Promise<Buffer> {
  let known: { key: Buffer; until: number } | null = null
  return async () => {
    if (known !== null && known.until > now()) return known.key
    const [row] = await queryRows(db, rowSchema, 'select jobs.api_signing_key() as key', [])
    if (row === undefined) throw new Error('jobs.api_signing_key returned no row')
    known = { key: row.key, until: now() + TRUST_MS }
    return known.key
  }
}
