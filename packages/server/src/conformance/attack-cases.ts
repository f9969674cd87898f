import { DOCKER_CASES } from './cases/docker-cases.ts'
import { GAPS } from './cases/gaps.ts'
import { HTTP_CASES } from './cases/http-cases.ts'
import { INPUT_CASES } from './cases/input-cases.ts'
import { ISOLATION_CASES } from './cases/isolation-cases.ts'
import { LEAVING_CASES } from './cases/leaving-cases.ts'
import { PROGRAM_CASES } from './cases/program-cases.ts'
import { REGISTRY_CASES } from './cases/registry-cases.ts'
import { RESOURCE_CASES } from './cases/resource-cases.ts'
import { SHELL_CASES } from './cases/shell-cases.ts'
import { SETTING_VARIABLES } from '../config/setting-catalogue.ts'
import type { Settings } from '../config/settings.ts'
import type { HostileCase, NotBuilt } from './hostile-case.ts'

/** Every hostile program and call there is, gaps among them, in the order of their rows. */
export const ATTACK_CASES: readonly HostileCase[] = [
  ...RESOURCE_CASES,
  ...LEAVING_CASES,
  ...ISOLATION_CASES,
  ...PROGRAM_CASES,
  ...SHELL_CASES,
  ...HTTP_CASES,
  ...DOCKER_CASES,
  ...INPUT_CASES,
  ...REGISTRY_CASES,
  ...GAPS,
].toSorted((a, b) => a.row - b.row)

/** Rows that a runtime cannot prove, or proves otherwise than the others; SECURITY.md says more of each. */
const UNPROVEN: Partial<Record<Settings['sandboxRuntime'], readonly NotBuilt[]>> = {
  runsc: [
    { rows: [1, 2, 3], part: 'numbers of processes', reason: "gVisor's own threads are in the same leaf" },
    { rows: [5], part: 'refused allocations', reason: "gVisor's kernel refuses them itself and counts nothing" },
    { rows: [23, 25], part: 'FIFOs and sockets as artifacts', reason: 'they never leave gVisor' },
    {
      rows: [36, 37, 38, 41, 42, 43, 46],
      part: 'counts of denied system calls',
      reason: "gVisor's filter has no user notification",
    },
    { rows: [45], part: '32-bit system calls', reason: 'gVisor takes them for 64-bit ones' },
    { rows: [47], part: 'counts of network attempts', reason: "they end in gVisor's own network stack" },
  ],
}

const WITHOUT_ENGINE: NotBuilt = {
  rows: [51],
  part: 'pinned images and volumes of docker jobs',
  reason: `not tried: no engine (${SETTING_VARIABLES.dockerHost})`,
}

export function unprovenFor(
  runtime: Settings['sandboxRuntime'],
  { hasEngine }: { hasEngine: boolean } = { hasEngine: true },
): readonly NotBuilt[] {
  return [...(UNPROVEN[runtime] ?? []), ...(hasEngine ? [] : [WITHOUT_ENGINE])]
}

/** The programs whose verdict the runtime can prove, with what needs an engine where there is one. */
export function attackCasesFor(
  runtime: Settings['sandboxRuntime'],
  { hasEngine }: { hasEngine: boolean },
): readonly HostileCase[] {
  const excepted = new Set(unprovenFor(runtime).flatMap(({ rows }) => rows))
  return ATTACK_CASES.filter((hostile) => !excepted.has(hostile.row) && (hasEngine || !('needsEngine' in hostile)))
}
