import { readFileSync } from 'node:fs'
import path from 'node:path'
import { ISOLATIONS } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AttackMatrix } from '../../src/app/attack-matrix.ts'
import { loadSettings } from '../../src/config/load-settings.ts'
import { ATTACK_CASES } from '../../src/conformance/attack-cases.ts'
import { NOT_BUILT } from '../../src/conformance/cases/gaps.ts'
import type { CaseReport } from '../../src/conformance/case-report.ts'
import { isGap } from '../../src/conformance/hostile-case.ts'
import { renderCases } from '../../src/conformance/render-matrix.ts'

/** The rows that concern a sandbox and what leaves it; the others have a runner or a server that there is not. */
const ROWS = Array.from({ length: 55 }, (_, index) => index + 1)
const security = readFileSync(path.join(import.meta.dirname, '../../../../SECURITY.md'), 'utf8')

describe.each(ISOLATIONS)('hostile programs in crun, isolation %s', (isolation) => {
  const { settings } = loadSettings(process.env)
  const matrix = new AttackMatrix({ settings, runtime: 'crun', isolation })
  const reports: CaseReport[] = []
  beforeAll(() => matrix.start())
  afterAll(() => matrix.stop())

  test.each(ATTACK_CASES)('row $row: $name', async (hostile) => {
    const report = await matrix.run(hostile)
    reports.push(report)
    // A gap that is closed belongs among the cases.
    expect(report).toMatchObject({ problems: [], outcome: isGap(hostile) ? 'gap' : 'met' })
  })

  test('nothing is left of the stack, and SECURITY.md holds the matrix as `ergon doctor --attack-matrix --markdown` prints it', async () => {
    const left = await matrix.stop()
    expect(left).toEqual([])
    expect(security).toContain(renderCases({ cases: reports, left, notBuilt: NOT_BUILT }))
  })
})

test('every row is a case, a gap or not built', () => {
  const seen = new Set([...ATTACK_CASES.map(({ row }) => row), ...NOT_BUILT.flatMap(({ rows }) => rows)])
  expect(ROWS.filter((row) => !seen.has(row))).toEqual([])
})
