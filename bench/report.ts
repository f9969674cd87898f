import { isMet, ratioOf, type Figure } from './bench.ts'
import type { Machine } from './machine.ts'

/** The one object that `--json` prints. */
export function toJson(machine: Machine, figures: readonly Figure[]): unknown {
  return {
    machine,
    figures: figures.map((figure) => ({
      figure: figure.figure,
      value: figure.value,
      unit: figure.unit,
      min: figure.min,
      max: figure.max,
      reference: figure.reference?.value ?? null,
      reference_name: figure.reference?.name ?? null,
      ratio: ratioOf(figure),
      target: figure.target?.bound ?? null,
      target_comparison: figure.target?.comparison ?? null,
      met: isMet(figure),
    })),
  }
}

/** A table for people: medians, spreads, what they are compared with, and whether the target is met. */
export function toTable(machine: Machine, figures: readonly Figure[]): string {
  const head = ['figure', 'median', 'min – max', 'unit', 'compared with', 'ratio', 'target', '']
  const rows = figures.map((figure) => [
    figure.figure,
    round(figure.value),
    `${round(figure.min)} – ${round(figure.max)}`,
    figure.unit,
    figure.reference === null ? '' : `${figure.reference.name} ${round(figure.reference.value)}`,
    figure.reference === null ? '' : round(ratioOf(figure) ?? Number.NaN),
    figure.target === null ? '' : `${figure.target.comparison} ${figure.target.bound}`,
    { true: '✓', false: '✗', null: '' }[`${isMet(figure)}`],
  ])
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)))
  const lines = [head, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  const gibibytes = Math.round(machine.memory_bytes / 2 ** 30)
  const where = `${machine.cpu}, ${machine.cores} cores, ${gibibytes} GiB, Linux ${machine.kernel}, Node ${machine.node}, PostgreSQL ${machine.postgres}`
  return [where, '', ...lines, ''].join('\n')
}

/** Three significant digits, without an exponent. */
function round(value: number): string {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)))
  return value.toFixed(Math.min(digits, 6))
}
