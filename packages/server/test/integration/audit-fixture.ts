import { generateKeyPairSync } from 'node:crypto'
import { readSealedRanges } from '../../src/control/audit-trail.ts'
import { countUnsealedRows } from '../../src/control/audit-trail.ts'
import { type AuditReport, verifyAuditTrail } from '../../src/control/verify-audit-trail.ts'
import { openSigningKey, openVerifyingKey, type SigningKey } from '../../src/platform/crypto/signing-key.ts'
import type { Database, DatabasePool } from '../../src/platform/db/database.ts'
import { inTransaction } from '../../src/platform/db/transaction.ts'
import { type NewSeal, sealAudit } from '../../src/queue/seal-audit.ts'
import type { TestDatabase } from '../../src/testing/test-database.ts'

export function makeKey(): SigningKey {
  return openSigningKey(String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })))
}
export const key = makeKey()

/** As the worker does it, with the worker's rights. */
export function seal(db: TestDatabase, by = key, mayFollow = () => true): Promise<NewSeal | null> {
  return sealAudit(db.as('ergon_worker'), by, new Date(), mayFollow)
}

/** Everything there is to seal; returns how many entries that was. */
export async function sealAll(db: TestDatabase): Promise<number> {
  let entries = 0
  for (let made = await seal(db); made !== null; made = await seal(db)) entries += made.entryCount
  return entries
}

export function verify(
  db: Database,
  options: { since?: Date; head?: { number: string; digest: string } } = {},
): Promise<AuditReport> {
  return verifyAuditTrail(
    readSealedRanges(db, options.since ?? null),
    {
      keys: new Map([[key.keyId, openVerifyingKey(key.publicKeyPem, 'test')]]),
      isFromBeginning: options.since === undefined,
      expectedHead: options.head ?? null,
    },
    () => countUnsealedRows(db),
  )
}

/** As a superuser who switches triggers off, which is what it takes. */
export function tamper(admin: DatabasePool, statement: string): Promise<void> {
  return inTransaction(admin, async (db) => {
    await db.query('set local session_replication_role = replica')
    const { rowCount } = await db.query(statement)
    if (rowCount === 0) throw new Error(`nothing was changed by: ${statement}`)
  })
}

export async function entriesOf(db: Database, jobId: string): Promise<Record<string, never>[]> {
  const { rows } = await db.query(
    'select recorded_by, identifier, entry from jobs.tb_audit where job_id = $1 order by seq',
    [jobId],
  )
  return rows.map((row) => ({ ...JSON.parse(String(Object(row).entry)), ...Object(row), entry: undefined }))
}
