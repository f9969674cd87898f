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
import { TestEngine } from '../../src/testing/docker-engine.ts'

const ROWS = Array.from({ length: 56 }, (_, index) => index + 1)
const security = readFileSync(path.join(import.meta.dirname, '../../../../SECURITY.md'), 'utf8')

let engine: TestEngine
beforeAll(async () => {
  engine = await TestEngine.start()
})
afterAll(() => engine?.stop())

describe.each(ISOLATIONS)('hostile programs in crun, isolation %s', (isolation) => {
  let matrix: AttackMatrix
  const reports: CaseReport[] = []
  beforeAll(async () => {
    const { settings } = loadSettings({ ...process.env, ERGON_DOCKER_HOST: engine.url })
    matrix = new AttackMatrix({ settings, runtime: 'crun', isolation })
    await matrix.start()
  })
  afterAll(() => matrix?.stop())

  test.each(ATTACK_CASES)('row $row: $name', async (hostile) => {
    const report = await matrix.run(hostile)
    reports.push(report)
    // A gap that is closed belongs among the cases.
    expect(report).toMatchObject({ problems: [], outcome: isGap(hostile) ? 'gap' : 'met' })
  })

  test('nothing is left of the stack, and SECURITY.md holds the matrix as `ergon doctor --attack-matrix --markdown` prints it', async () => {
    const left = await matrix.stop()
    expect(left).toEqual([])
    expect(await engine.leftovers()).toEqual([])
    expect(await engine.api.listImages()).toEqual([])
    expect(security).toContain(renderCases({ cases: reports, left, notBuilt: NOT_BUILT }))
  })
})

test('every row is a case, a gap or not built', () => {
  const seen = new Set([...ATTACK_CASES.map(({ row }) => row), ...NOT_BUILT.flatMap(({ rows }) => rows)])
  expect(ROWS.filter((row) => !seen.has(row))).toEqual([])
})
