import type { CaseReport } from './case-report.ts'
import {
  describeEvidence,
  describeHost,
  escapeHostile,
  type MatrixReport,
  type MatrixSummary,
  summarise,
} from './matrix-report.ts'

export const MARKS: Readonly<Record<CaseReport['outcome'], string>> = { met: '✓', gap: 'gap', failed: '✗' }

/** The matrix as Markdown, the same for the same build on every host but for the line that describes the host. */
export function renderMatrix(report: MatrixReport): string {
  return `${escapeMarkdown(describeHost(report.host))}\n\n${renderCases(report)}`
}

/** Everything but the host: what a document can hold and a test can compare. */
export function renderCases(report: Omit<MatrixReport, 'host'>): string {
  const rows = joinAlike(report.cases.map(toRow))
  return [
    '| row | program | owed | seen | evidence | |',
    '|---|---|---|---|---|---|',
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    `${describeSummary(summarise(report))}.`,
    '',
    ...report.left.map((what) => `- left by the stack itself: ${escapeMarkdown(what)}`),
    'Not tried by these cases:',
    '',
    ...report.notBuilt.map(({ rows: numbers, part, reason }) => `- ${numbers.join(', ')}: ${part} (${reason})`),
    '',
  ].join('\n')
}

export function describeSummary({ met, gaps, failed }: MatrixSummary): string {
  return `${met} as owed, ${gaps} listed gaps, ${failed} failed`
}

/** Row, programs, owed, seen, evidence, mark. */
type Cells = [row: string, programs: string, ...rest: string[]]

function toRow(report: CaseReport): Cells {
  const isMet = report.outcome === 'met'
  // Where several verdicts are right, which one comes depends on the moment.
  const isSettled = report.owed.length === 1
  return [
    String(report.row),
    showName(report.name),
    report.owed.join(' or '),
    isMet ? 'as owed' : describeFailing(report),
    isMet && !isSettled ? 'as seen' : escapeMarkdown(describeEvidence(report)),
    MARKS[report.outcome],
  ]
}

function describeFailing({ verdict, reason, problems }: CaseReport): string {
  return escapeMarkdown([verdict ?? 'nothing', ...(reason === null ? [] : [reason]), ...problems].join('; '))
}

/** Programs of one row that end alike share a line. */
function joinAlike(rows: readonly Cells[]): Cells[] {
  const joined = new Map<string, Cells>()
  for (const cells of rows) {
    const [row, programs, ...rest] = cells
    const key = JSON.stringify([row, ...rest])
    const before = joined.get(key)
    joined.set(key, before === undefined ? cells : [row, `${before[1]}; ${programs}`, ...rest])
  }
  return [...joined.values()]
}

/** A name that is a line of Python as code. */
function showName(name: string): string {
  return /[("=]/.test(name) ? `\`${name.replaceAll('|', '\\|')}\`` : escapeMarkdown(name)
}

function escapeMarkdown(text: string): string {
  return escapeHostile(text).replaceAll(/[\\`*[\]<>|]/g, (mark) => `\\${mark}`)
}
