import { type AuditFault, AuditVerifier, type VerifyAuditOptions } from '../domain/verify-audit.ts'
import type { SealedRange, UnsealedRows } from './audit-trail.ts'

export interface AuditReport {
  /** How many seals and entries are as they were sealed. */
  seals: number
  entries: number
  unsealed: UnsealedRows
  /** The newest good seal: whoever notes it down can tell later whether seals were taken off the end. */
  head: { number: string; digest: string } | null
  fault: AuditFault | null
}

export interface VerifyTrailOptions extends VerifyAuditOptions {
  /** A seal that was noted down; it must be there. */
  expectedHead: { number: string; digest: string } | null
}

/** Checks everything up to the first fault. `countUnsealed` is asked in the end. */
export async function verifyAuditTrail(
  ranges: AsyncIterable<SealedRange>,
  { expectedHead, ...options }: VerifyTrailOptions,
  countUnsealed: () => UnsealedRows | Promise<UnsealedRows>,
): Promise<AuditReport> {
  const verifier = new AuditVerifier(options)
  let seals = 0
  let entries = 0
  let fault: AuditFault | null = null
  let isHeadSeen = expectedHead === null
  for await (const { seal, rows } of ranges) {
    fault = verifier.check(seal, rows)
    if (fault !== null) break
    seals++
    entries += rows.length
    if (seal.number !== expectedHead?.number) continue
    isHeadSeen = seal.digest === expectedHead.digest
    if (!isHeadSeen)
      fault = { seal: seal.number, seq: null, problem: `it is another one than the one noted down: ${seal.digest}` }
    if (fault !== null) break
  }
  const { head } = verifier
  if (fault === null && !isHeadSeen)
    fault = {
      seal: expectedHead?.number ?? '',
      seq: null,
      problem: `it is missing: the newest one is ${head?.number ?? 'none'}`,
    }
  return {
    seals,
    entries,
    unsealed: await countUnsealed(),
    head: head === null ? null : { number: head.number, digest: head.digest },
    fault,
  }
}
