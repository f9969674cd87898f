import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AttackMatrix } from '../../src/app/attack-matrix.ts'
import { loadSettings } from '../../src/config/load-settings.ts'
import { attackCasesFor, ATTACK_CASES, unprovenFor } from '../../src/conformance/attack-cases.ts'
import { isGap } from '../../src/conformance/hostile-case.ts'

/** One case of each row: gVisor takes ten times as long to start. */
const CASES = attackCasesFor('runsc', { hasEngine: false }).filter(
  (hostile, index, all) => !isGap(hostile) && all.findIndex(({ row }) => row === hostile.row) === index,
)

describe('hostile programs in runsc', () => {
  const matrix = new AttackMatrix({ ...loadSettings(process.env), runtime: 'runsc', isolation: 'fresh' })
  beforeAll(() => matrix.start())
  afterAll(() => matrix.stop())

  test('only rows that exist are excepted', () => {
    const known = new Set(ATTACK_CASES.map(({ row }) => row))
    expect(unprovenFor('runsc').flatMap(({ rows }) => rows.filter((row) => !known.has(row)))).toEqual([])
  })

  test.each(CASES)('row $row: $name', async (hostile) => {
    expect(await matrix.run(hostile)).toMatchObject({ problems: [], outcome: 'met' })
  })
})
