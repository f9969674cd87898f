import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { GAPS, NOT_BUILT } from './hostile/gaps.ts'
import { HostileHost } from './hostile/hostile-host.ts'
import { ISOLATION_CASES } from './hostile/isolation-cases.ts'
import { LEAVING_CASES } from './hostile/leaving-cases.ts'
import { PROGRAM_CASES } from './hostile/program-cases.ts'
import { RESOURCE_CASES } from './hostile/resource-cases.ts'

const CASES = [...RESOURCE_CASES, ...LEAVING_CASES, ...ISOLATION_CASES, ...PROGRAM_CASES]

/** The rows that concern a sandbox and what leaves it. */
const ROWS = [...range(1, 27), ...range(29, 47), 49, 52, 53, 54, 55, 28]

describe('hostile programs in crun', () => {
  const host = new HostileHost('crun')
  beforeAll(() => host.start())
  afterAll(() => host.remove())

  test.each(CASES)('row $row: $name', async (hostile) => {
    expect(hostile.verdicts).toContain(await host.judge(hostile))
    await host.expectUnharmed()
  })

  describe('gaps: each still ends like this; one that is closed belongs among the cases', () => {
    test.each(GAPS)('row $row: $name, owed $owed: $reason', async (gap) => {
      expect(await host.judge(gap)).toBe(gap.today)
      await host.expectUnharmed()
    })
  })

  test('every row is a case or a gap that can be seen', () => {
    const seen = [...CASES, ...GAPS, ...NOT_BUILT].map(({ row }) => Number.parseInt(row, 10))
    expect(ROWS.filter((row) => !seen.includes(row))).toEqual([])
  })
})

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}
