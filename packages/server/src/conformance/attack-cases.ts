import { GAPS } from './cases/gaps.ts'
import { ISOLATION_CASES } from './cases/isolation-cases.ts'
import { LEAVING_CASES } from './cases/leaving-cases.ts'
import { PROGRAM_CASES } from './cases/program-cases.ts'
import { RESOURCE_CASES } from './cases/resource-cases.ts'
import type { HostileCase } from './hostile-case.ts'

/** Every hostile program there is, gaps among them, in the order of their rows. */
export const ATTACK_CASES: readonly HostileCase[] = [
  ...RESOURCE_CASES,
  ...LEAVING_CASES,
  ...ISOLATION_CASES,
  ...PROGRAM_CASES,
  ...GAPS,
].toSorted((a, b) => a.row - b.row)
