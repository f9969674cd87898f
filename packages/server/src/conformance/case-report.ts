import type { Evidence, JobResult } from '@ergon/contract'
import { findEvidenceProblem } from './evidence-rules.ts'
import { type HostileJob, type HostileRegistry, isGap, verdictOf } from './hostile-case.ts'

/** How one hostile program ended on this host. */
export interface CaseReport {
  row: number
  name: string
  owed: readonly string[]
  /** The verdict seen; null when there was none in time. */
  verdict: string | null
  evidence: Evidence | null
  /** `met`: as owed. `gap`: as a listed gap ends. `failed`: anything else, or harm was done. */
  outcome: 'met' | 'gap' | 'failed'
  /** Why a gap is one. */
  reason: string | null
  /** What is wrong, when it failed. */
  problems: readonly string[]
}

/** Why a registry was not taken. */
export interface Refusal {
  code: string
  message: string
}

interface RefusalCost {
  ms: number
  bytes: number
}

/** Far above what any takes, and far below what one would take that is followed to its end. */
const MAX_REFUSAL_MS = 30_000
const MAX_REFUSAL_BYTES = 512 * 1024 * 1024

/** The verdict on the verdict: `result` is null when the job did not end, `harm` what it did to the host. Pure. */
export function judgeCase(hostile: HostileJob, result: JobResult | null, harm: readonly string[]): CaseReport {
  const verdict = result === null ? null : verdictOf(result)
  const problems = [...(result === null ? ['it did not end'] : findProblems(hostile, result)), ...harm]
  const isOpen = isGap(hostile) && verdict !== null && !isAsOwed(verdict, hostile.owed)
  const outcome = problems.length > 0 ? 'failed' : isOpen ? 'gap' : 'met'
  return {
    row: hostile.row,
    name: hostile.name,
    owed: isGap(hostile) ? [hostile.owed] : hostile.verdicts,
    verdict,
    evidence: result?.error?.evidence ?? null,
    outcome,
    reason: outcome === 'gap' && isGap(hostile) ? hostile.reason : null,
    problems,
  }
}

/** The verdict on a refusal: `refusal` is null when the registry was taken. Pure. */
export function judgeRegistry(hostile: HostileRegistry, refusal: Refusal | null, cost: RefusalCost): CaseReport {
  const { row, name, says, verdicts } = hostile
  const isOwed = refusal !== null && verdicts.includes(refusal.code)
  const problems = [
    ...(isOwed ? [] : [`it ended as ${refusal?.code ?? 'a registry that is served'}`]),
    ...(refusal === null || refusal.message.includes(says) ? [] : [`the refusal does not say: ${says}`]),
    ...(cost.ms < MAX_REFUSAL_MS ? [] : [`it took ${Math.round(cost.ms)} ms`]),
    ...(cost.bytes < MAX_REFUSAL_BYTES ? [] : [`it took ${cost.bytes} bytes of memory`]),
  ]
  const outcome = problems.length > 0 ? 'failed' : 'met'
  return { row, name, owed: verdicts, verdict: refusal?.code ?? null, evidence: null, outcome, reason: null, problems }
}

function findProblems(hostile: HostileJob, result: JobResult): string[] {
  const verdict = verdictOf(result)
  // A gap that this host has closed is good news.
  if (isGap(hostile) && isAsOwed(verdict, hostile.owed)) return []
  if (!hostile.verdicts.includes(verdict)) return [`it ended as ${verdict}: ${result.error?.message ?? 'no error'}`]
  const evidenceProblem =
    result.error === undefined ? null : findEvidenceProblem(hostile.counter, result.error.evidence)
  return [evidenceProblem, hostile.check?.(result) ?? null].filter((problem) => problem !== null)
}

/** A gap may owe a category alone. */
function isAsOwed(verdict: string, owed: string): boolean {
  return verdict === owed || verdict.startsWith(`${owed}/`)
}
