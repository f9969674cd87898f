import { all, leftNothing, neverStarted } from '../checks.ts'
import type { HostileCase } from '../hostile-case.ts'

function refused(name: string, parameters: unknown): HostileCase {
  return {
    row: 56,
    name,
    call: { service: 'hostile-input', operation: 'run', executionType: 'sandbox', input: { parameters } },
    verdicts: ['VALIDATION_ERROR/INPUT_INVALID'],
    counter: null,
    check: all(leftNothing, neverStarted),
  }
}

/** Row 56: what a caller of a service may send. */
export const INPUT_CASES: readonly HostileCase[] = [
  refused('a megabyte for a pattern that backtracks', { word: `${'a'.repeat(1_000_000)}!` }),
  refused('100 000 items to compare with each other', {
    items: [...Array.from({ length: 99_999 }, (_, index) => [index]), [7]],
  }),
  refused('prototype keys', JSON.parse('{"__proto__": {"word": "a"}, "constructor": 1}')),
]
