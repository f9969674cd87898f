import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HostileHost } from './hostile/hostile-host.ts'
import { ISOLATION_CASES } from './hostile/isolation-cases.ts'
import { LEAVING_CASES } from './hostile/leaving-cases.ts'
import { PROGRAM_CASES } from './hostile/program-cases.ts'
import { RESOURCE_CASES } from './hostile/resource-cases.ts'

/** What a runtime sets up itself: namespaces, cgroup, limits, filter. What leaves a sandbox is the same code for both. */
const CASES = [...RESOURCE_CASES, ...ISOLATION_CASES, ...firstOfEachRow([...LEAVING_CASES, ...PROGRAM_CASES])]

describe('hostile programs in runc', () => {
  const host = new HostileHost('runc')
  beforeAll(() => host.start())
  afterAll(() => host.remove())

  test.each(CASES)('row $row: $name', async (hostile) => {
    expect(hostile.verdicts).toContain(await host.judge(hostile))
    await host.expectUnharmed()
  })
})

function firstOfEachRow(cases: typeof LEAVING_CASES): typeof LEAVING_CASES {
  return cases.filter(({ row }, index) => cases.findIndex((other) => other.row === row) === index)
}
