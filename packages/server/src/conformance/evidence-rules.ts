import type { Evidence } from '@ergon/contract'

const PAGE_BYTES = 4096

/** When a counter's numbers really say what the verdict says; `observed` is the value seen. */
type Rule = (limit: number, observed: number) => boolean

const reached: Rule = (limit, observed) => observed >= limit
const crossed: Rule = (limit, observed) => observed > limit
const happened: Rule = (_limit, observed) => observed >= 1

/** Every counter that a verdict of the matrix may rest on. */
const RULES: Readonly<Record<string, Rule>> = {
  wall_ms: reached,
  cpu_ms: reached,
  // The kernel refuses the charge that would cross the limit, and charges in batches of pages.
  memory_bytes: (limit, observed) => observed > limit / 2,
  // A full volume has less than a page left.
  disk_bytes: (limit, observed) => observed > limit - PAGE_BYTES,
  disk_files: reached,
  stdout_bytes: crossed,
  stderr_bytes: crossed,
  artifact_count: crossed,
  artifact_bytes: crossed,
  result_bytes: crossed,
  // These count refusals.
  pids: happened,
  denied_syscalls: happened,
  network_attempts: happened,
  denied_destinations: happened,
  collection_violations: happened,
  signal: happened,
}

/** The kernel tells of these by a signal alone. */
const WITHOUT_OBSERVED = new Set(['file_size_bytes'])

/** What is wrong with a failure's evidence where `counter` was expected (null: none), or null. */
export function findEvidenceProblem(counter: string | null, evidence: Evidence | null): string | null {
  const seen = evidence?.counter ?? null
  if (seen !== counter) return `its evidence is ${seen ?? 'none'} instead of ${counter ?? 'none'}`
  if (evidence === null || WITHOUT_OBSERVED.has(evidence.counter)) return null
  const { limit, observed } = evidence
  const isSound = observed !== null && RULES[evidence.counter]?.(limit ?? 0, observed) === true
  return isSound
    ? null
    : `${evidence.counter} shows no such thing: limit ${String(limit)}, observed ${String(observed)}`
}
