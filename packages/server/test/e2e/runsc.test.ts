import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HostileHost } from './hostile/hostile-host.ts'
import { ISOLATION_CASES } from './hostile/isolation-cases.ts'
import { LEAVING_CASES } from './hostile/leaving-cases.ts'
import { PROGRAM_CASES } from './hostile/program-cases.ts'
import { RESOURCE_CASES } from './hostile/resource-cases.ts'

/** Rows that gVisor can't prove, or proves otherwise: SECURITY.md says why of each. */
const UNPROVEN = new Set([
  ...['1', '2', '3'],
  ...['23', '25'],
  ...['36', '37', '38', '41', '42', '43', '46', '36–46'],
  ...['45', '47'],
])
const CASES = [...RESOURCE_CASES, ...ISOLATION_CASES, ...LEAVING_CASES, ...PROGRAM_CASES]
const PROVEN = CASES.filter(
  ({ row }, index) => !UNPROVEN.has(row) && CASES.findIndex((other) => other.row === row) === index,
)

describe('hostile programs in runsc', () => {
  const host = new HostileHost('runsc')
  beforeAll(() => host.start())
  afterAll(() => host.remove())

  test('only rows that exist are excepted', () => {
    for (const row of UNPROVEN) expect(CASES.map((hostile) => hostile.row)).toContain(row)
  })

  test.each(PROVEN)('row $row: $name', async (hostile) => {
    expect(hostile.verdicts).toContain(await host.judge(hostile))
    await host.expectUnharmed()
  })
})
