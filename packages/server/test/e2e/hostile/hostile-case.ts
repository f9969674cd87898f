import type { JobResult } from '@ergon/contract'
import type { PayloadChange } from '../application.ts'

/** Looks at a result, and throws when it is not as it must be. */
export type Check = (result: JobResult) => void

/** One program that means harm, and every verdict that is right for it; `row` is its row in SECURITY.md. */
export interface HostileCase {
  row: string
  name: string
  program: string
  change?: PayloadChange
  /** `SUCCEEDED`, or the failure's `CATEGORY/CODE`. */
  verdicts: readonly string[]
  /** The counter that a failure has to rest on; null when the program failed by itself. */
  counter: string | null
  /** What else must hold of the result. */
  check?: Check
}

/** A row that does not end as it should yet: what it is owed, how it ends today, and why. */
export interface Gap extends HostileCase {
  owed: string
  today: string
  reason: string
}

/** Lets a Python program make any system call by its number on x86_64. */
export const CALL = `
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
`

/** Limits low enough that every case ends within a few seconds. */
export function limits(change: Record<string, number>): PayloadChange {
  return { limits: { timeout_ms: 10_000, cpu_ms: 10_000, memory_mb: 64, ...change } }
}

/** The verdict of a result in the words of `verdicts`. */
export function verdictOf({ status, error }: JobResult): string {
  return error === undefined ? status : `${error.category}/${error.code}`
}
