import type { Isolation } from '@ergon/contract'
import { AttackMatrix } from '../app/attack-matrix.ts'
import type { Settings } from '../config/settings.ts'
import { ATTACK_CASES, attackCasesFor, unprovenFor } from '../conformance/attack-cases.ts'
import { NOT_BUILT } from '../conformance/cases/gaps.ts'
import type { CaseReport } from '../conformance/case-report.ts'
import {
  describeEvidence,
  describeHost,
  escapeHostile,
  type MatrixHost,
  type MatrixReport,
  summarise,
} from '../conformance/matrix-report.ts'
import { describeSummary, MARKS, renderMatrix } from '../conformance/render-matrix.ts'
import { ERROR_CATALOGUE } from '../platform/errors/error-catalogue.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { paint, Spinner } from './terminal.ts'

export type MatrixFormat = 'text' | 'json' | 'markdown'

export interface MatrixOptions {
  settings: Settings
  runtime: Settings['sandboxRuntime']
  isolation: Isolation
  /** Only these rows; all when absent. */
  rows: readonly number[] | undefined
  format: MatrixFormat
}

const INTERRUPTED = 130

/**
 * Runs the attack matrix on this host and prints it. Gives the exit status: 0 when every row ended as owed or as a
 * listed gap, that of HOST_CANNOT_ISOLATE when one did not, 130 after an interruption.
 */
export async function runAttackMatrix({ rows, format, ...options }: MatrixOptions): Promise<number> {
  const hasEngine = options.settings.dockerHost !== null
  const cases = attackCasesFor(options.runtime, { hasEngine }).filter(
    ({ row }) => rows === undefined || rows.includes(row),
  )
  const notBuilt = [...NOT_BUILT, ...unprovenFor(options.runtime, { hasEngine })].filter(
    (part) => rows === undefined || part.rows.some((row) => rows.includes(row)),
  )
  if (cases.length === 0 && notBuilt.length === 0) {
    const known = [...new Set(ATTACK_CASES.map(({ row }) => row))].join(', ')
    throw new ErgonError('USAGE', `the attack matrix has no row ${rows?.join(', ')}; its rows are ${known}`)
  }
  const interruption = new Interruption()
  const matrix = new AttackMatrix(options)
  const reports: CaseReport[] = []
  let host: MatrixHost
  let left: string[]
  try {
    host = await spinWhile('starting a stack for hostile programs', () => matrix.start())
    if (format === 'text') process.stdout.write(`${escapeHostile(describeHost(host))}\n\n${HEADING}`)
    for (const hostile of cases) {
      if (interruption.isAsked) break
      const report = await spinWhile(`row ${hostile.row}: ${hostile.name}`, () => matrix.run(hostile))
      reports.push(report)
      if (format === 'text') process.stdout.write(formatCase(report))
    }
  } finally {
    left = await matrix.stop()
    interruption.end()
  }
  if (interruption.isAsked) return INTERRUPTED
  return print({ host, cases: reports, left, notBuilt }, format) ? 0 : ERROR_CATALOGUE.HOST_CANNOT_ISOLATE.exitCode
}

async function spinWhile<T>(text: string, work: () => Promise<T>): Promise<T> {
  const spinner = new Spinner()
  spinner.show(text)
  try {
    return await work()
  } finally {
    spinner.hide()
  }
}

function print(report: MatrixReport, format: MatrixFormat): boolean {
  const summary = summarise(report)
  const isUnharmed = summary.failed === 0
  if (format === 'json')
    process.stdout.write(`${escapeHostile(JSON.stringify({ ok: isUnharmed, summary, ...report }))}\n`)
  else if (format === 'markdown') process.stdout.write(renderMatrix(report))
  else {
    const lines = [
      '',
      ...report.left.map((what) => `${paint('red', '✗')} left by the stack itself: ${escapeHostile(what)}`),
      ...report.notBuilt.map(({ rows, part, reason }) => `  not built: ${rows.join(', ')}: ${part} (${reason})`),
      paint(['bold', isUnharmed ? 'green' : 'red'], describeSummary(summary)),
      '',
    ]
    process.stdout.write(lines.join('\n'))
  }
  return isUnharmed
}

/** Ctrl-C ends the matrix after the program that runs, so that its stack's folder goes too; a second one at once. */
class Interruption {
  isAsked = false
  readonly #onSignal = () => {
    if (this.isAsked) process.exit(INTERRUPTED)
    this.isAsked = true
    process.stderr.write('stopping after this program\n')
  }

  constructor() {
    process.on('SIGINT', this.#onSignal).on('SIGTERM', this.#onSignal)
  }

  end(): void {
    process.off('SIGINT', this.#onSignal).off('SIGTERM', this.#onSignal)
  }
}

const COLUMNS = { row: 3, name: 56, owed: 38 }
const HEADING = `     ${'ROW'.padEnd(COLUMNS.row)}  ${'PROGRAM'.padEnd(COLUMNS.name)}  ${'OWED'.padEnd(COLUMNS.owed)}  SEEN, EVIDENCE\n`
const COLOURS = { met: 'green', gap: 'yellow', failed: 'red' } as const

function formatCase({ row, name, owed, verdict, evidence, outcome, reason, problems }: CaseReport): string {
  const [first = '', ...others] = owed
  const seen = verdict === first ? 'as owed' : escapeHostile(verdict ?? 'nothing')
  const cells = [
    paint(COLOURS[outcome], MARKS[outcome].padEnd(3)),
    String(row).padStart(COLUMNS.row),
    clip(name, COLUMNS.name).padEnd(COLUMNS.name),
    first.padEnd(COLUMNS.owed),
    evidence === null ? seen : `${seen}, ${escapeHostile(describeEvidence({ evidence }))}`,
  ]
  const notes = [...others.map((other) => `or ${other}`), ...(reason === null ? [] : [reason]), ...problems]
  return [cells.join('  '), ...notes.map((note) => `${' '.repeat(COLUMNS.row + 7)}${escapeHostile(note)}`), ''].join(
    '\n',
  )
}

function clip(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`
}
