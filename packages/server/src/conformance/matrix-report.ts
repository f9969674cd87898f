import type { CaseReport } from './case-report.ts'
import type { NotBuilt } from './hostile-case.ts'

/** What a matrix was run on. */
export interface MatrixHost {
  kernel: string
  architecture: string
  /** The layout, with the controllers in use. */
  cgroup: string
  /** Name and version. */
  runtime: string
  environment: string
  isolation: string
}

/** The whole of one run. */
export interface MatrixReport {
  host: MatrixHost
  cases: readonly CaseReport[]
  /** What the stack itself left when it had ended. */
  left: readonly string[]
  notBuilt: readonly NotBuilt[]
}

export interface MatrixSummary {
  met: number
  gaps: number
  failed: number
}

export function summarise({ cases, left }: Pick<MatrixReport, 'cases' | 'left'>): MatrixSummary {
  const count = (outcome: CaseReport['outcome']) => cases.filter((each) => each.outcome === outcome).length
  return { met: count('met'), gaps: count('gap'), failed: count('failed') + (left.length > 0 ? 1 : 0) }
}

/** The host in one line. */
export function describeHost({ kernel, architecture, cgroup, runtime, environment, isolation }: MatrixHost): string {
  return `Linux ${kernel} (${architecture}), cgroup ${cgroup}, ${runtime}, ${environment}, isolation ${isolation}`
}

/** What decided a verdict, without the value seen where that differs from run to run. */
export function describeEvidence({ evidence }: Pick<CaseReport, 'evidence'>): string {
  if (evidence === null) return 'none'
  const { counter, limit, observed } = evidence
  return limit === null ? `${counter} ${String(observed)}` : `${counter}, limit ${limit}`
}

/** Text that a job may have had a hand in, as printable ASCII on one line. Within JSON it stays the same JSON. */
export function escapeHostile(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
