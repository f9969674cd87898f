import type { ExecutionType, JobResult } from '@ergon/contract'
import type { PayloadChange } from './compose-payload.ts'

/** Looks at a result and says what is wrong with it, or null. */
export type Check = (result: JobResult) => string | null

/** What is owed of one job that means harm: every verdict that is right for it. */
interface Owed {
  /** Its row in SECURITY.md. */
  row: number
  name: string
  /** `SUCCEEDED`, or the failure's `CATEGORY/CODE`. */
  verdicts: readonly string[]
  /** The counter that a failure has to rest on; null when the program failed by itself. */
  counter: string | null
  /** What else must hold of the result. */
  check?: Check
}

/** A program for the built-in service. */
interface HostileProgram extends Owed {
  program: string
  change?: PayloadChange
}

/** A call of a service of the matrix's own registry. */
interface HostileCall extends Owed {
  call: ServiceCall
  /** Whether it takes a container engine to try it. */
  needsEngine?: true
}

/** A registry that must be refused before a worker has it, in bounded time and memory. */
export interface HostileRegistry extends Owed {
  registry: string
  /** A part of the refusal. */
  says: string
}

export interface ServiceCall {
  service: string
  operation: string
  executionType: ExecutionType
  input: unknown
}

/** What is sent through a stack's queue. */
export type HostileJob = HostileProgram | HostileCall
export type HostileCase = HostileJob | HostileRegistry

/** A program that does not end as it should yet: `verdicts` is how it ends today. */
export interface Gap extends HostileProgram {
  /** What it should end as. */
  owed: string
  reason: string
}

/** A part of a row that nothing in this build does yet, so that there is nothing to try. */
export interface NotBuilt {
  rows: readonly number[]
  part: string
  reason: string
}

/** Whether it is a call of a service, and no program of its own. */
export function isCall(hostile: HostileJob): hostile is HostileCall {
  return 'call' in hostile
}

export function isRegistry(hostile: HostileCase): hostile is HostileRegistry {
  return 'registry' in hostile
}

export function isGap(hostile: HostileCase): hostile is Gap {
  return 'owed' in hostile
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
