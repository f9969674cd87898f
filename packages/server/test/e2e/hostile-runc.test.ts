import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AttackMatrix } from '../../src/app/attack-matrix.ts'
import { loadSettings } from '../../src/config/load-settings.ts'
import { attackCasesFor } from '../../src/conformance/attack-cases.ts'
import { INPUT_CASES } from '../../src/conformance/cases/input-cases.ts'
import { LEAVING_CASES } from '../../src/conformance/cases/leaving-cases.ts'
import { PROGRAM_CASES } from '../../src/conformance/cases/program-cases.ts'
import { SHELL_CASES } from '../../src/conformance/cases/shell-cases.ts'
import { isGap, isRegistry } from '../../src/conformance/hostile-case.ts'

/** What a runtime sets up itself: namespaces, cgroup, limits, filter. What leaves a sandbox is the same code for both. */
const SAME_FOR_ALL = [...LEAVING_CASES, ...PROGRAM_CASES, ...SHELL_CASES, ...INPUT_CASES].filter(
  ({ row }, index, cases) => cases.findIndex((other) => other.row === row) !== index,
)
const CASES = attackCasesFor('runc', { hasEngine: false }).filter(
  (hostile) => !isRegistry(hostile) && !SAME_FOR_ALL.includes(hostile),
)

describe('hostile programs in runc', () => {
  const { settings } = loadSettings(process.env)
  const matrix = new AttackMatrix({ settings, runtime: 'runc', isolation: 'fresh' })
  beforeAll(() => matrix.start())
  afterAll(() => matrix.stop())

  test.each(CASES)('row $row: $name', async (hostile) => {
    const report = await matrix.run(hostile)
    expect(report).toMatchObject({ problems: [], outcome: isGap(hostile) ? 'gap' : 'met' })
  })

  test('nothing is left of the stack', async () => {
    expect(await matrix.stop()).toEqual([])
  })
})
