import { all, leftNothing, neverStarted } from '../checks.ts'
import type { HostileCase } from '../hostile-case.ts'

function call(service: string, name: string, code: string): HostileCase {
  return {
    row: 51,
    name,
    call: { service, operation: 'run', executionType: 'docker', input: {} },
    needsEngine: true,
    verdicts: [`VALIDATION_ERROR/${code}`],
    counter: null,
    check: all(leftNothing, neverStarted),
  }
}

/** Row 51: what is only known when an engine is there and a job comes. */
export const DOCKER_CASES: readonly HostileCase[] = [
  call('hostile-drift', 'another image under the name of a pinned one', 'IMAGE_DIGEST_MISMATCH'),
  call('hostile-link', 'a link inside an allowed mount', 'VOLUME_REFUSED'),
  call('hostile-kernel', 'a mount of /proc where the policy allows everything', 'VOLUME_REFUSED'),
  call('hostile-home', "a mount of Ergon's own data where the policy allows everything", 'VOLUME_REFUSED'),
  call('hostile-root', 'a mount of / where the policy allows everything', 'VOLUME_REFUSED'),
]
