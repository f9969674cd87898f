import { CALL, type Gap, type NotBuilt } from '../hostile-case.ts'

/** A read-only or empty place refuses by itself, and the kernel counts no such refusal: the verdict is the exception's. */
const UNCOUNTED = 'the kernel refuses it and counts nothing'

function endsAs(today: string) {
  return { verdicts: [today], counter: null }
}

/** Rows, or parts of rows, that do not end as SECURITY.md owes it; SECURITY.md lists them too. */
export const GAPS: readonly Gap[] = [
  {
    row: 43,
    name: 'a netlink socket of the protocol for routes',
    program: `${CALL}\nsocket.socket(16, socket.SOCK_RAW, 0)`,
    owed: 'SANDBOX_VIOLATION/SYSCALL_DENIED',
    ...endsAs('USER_CODE_ERROR/PYTHON_EXCEPTION'),
    reason: 'refused but not counted: the C library makes the very same call to sort the addresses of localhost',
  },
  {
    row: 49,
    name: "a container engine's socket",
    program: `${CALL}\nsocket.socket(socket.AF_UNIX).connect("/run/docker.sock")`,
    owed: 'SANDBOX_VIOLATION',
    ...endsAs('USER_CODE_ERROR/PYTHON_EXCEPTION'),
    reason: `it does not exist in a sandbox; ${UNCOUNTED}`,
  },
  {
    row: 49,
    name: 'an abstract unix socket',
    program: `${CALL}\nsocket.socket(socket.AF_UNIX).connect("\\0/tmp/.X11-unix/X0")`,
    owed: 'SANDBOX_VIOLATION',
    ...endsAs('USER_CODE_ERROR/PYTHON_EXCEPTION'),
    reason: `a sandbox's network namespace has names of its own; ${UNCOUNTED}`,
  },
  {
    row: 52,
    name: 'writing core_pattern',
    program: 'open("/proc/sys/kernel/core_pattern", "w")',
    owed: 'SANDBOX_VIOLATION',
    ...endsAs('USER_CODE_ERROR/PYTHON_EXCEPTION'),
    reason: `/proc/sys is read-only; ${UNCOUNTED}`,
  },
]

/** Parts of rows that nothing in this build does yet, so that there is nothing to try. */
export const NOT_BUILT: readonly NotBuilt[] = [
  {
    rows: [28],
    part: 'input archives with traversal, absolute paths, links',
    reason: 'inputs are files; nothing unpacks',
  },
  { rows: [29], part: 'SVG served as an attachment with a strict CSP', reason: 'there is no HTTP server' },
  {
    rows: [48],
    part: 'a name that leads elsewhere when it is asked again',
    reason: 'it takes a name server of its own; test/integration/http-runner-ssrf.test.ts tries it',
  },
  { rows: [54], part: 'LaTeX', reason: 'there is no LaTeX environment' },
]
