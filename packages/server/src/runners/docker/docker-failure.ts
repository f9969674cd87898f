import type { Failure, FailureCategory } from '@ergon/contract'
import { EngineError, reasonOf, statusOf } from './engine.ts'

/** Why an attempt ended before its container ran, or without one; the runner turns it into the job's failure. */
export class DockerFailure extends Error {
  readonly failure: Failure

  constructor(category: FailureCategory, code: string, message: string) {
    super(message)
    this.name = 'DockerFailure'
    this.failure = { category, code, message, evidence: null, details: null }
  }
}

/** The failure that an error of the engine's API stands for, or null for an error that is none. */
export function failureOf(error: unknown): Failure | null {
  if (error instanceof DockerFailure) return error.failure
  if (error instanceof EngineError) return internal(error.code, error.message)
  const status = statusOf(error)
  if (status !== null)
    // What the engine refuses is what the registry says, or what the image cannot do; what it fails at is its own.
    return status < 500
      ? {
          ...internal('CONTAINER_REFUSED', `the engine refused the container: ${reasonOf(error)}`),
          category: 'VALIDATION_ERROR',
        }
      : internal('ENGINE_FAILED', `the engine failed: ${reasonOf(error)}`)
  return isLostConnection(error)
    ? internal('ENGINE_UNREACHABLE', `the connection to the container engine was lost: ${reasonOf(error)}`)
    : null
}

/** Errors of sockets, names and TLS have a code; so has a call that took too long. */
function isLostConnection(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return (
    error.name === 'TimeoutError' || error.name === 'AbortError' || ('code' in error && typeof error.code === 'string')
  )
}

function internal(code: string, message: string): Failure {
  return { category: 'INTERNAL_ERROR', code, message, evidence: null, details: null }
}
