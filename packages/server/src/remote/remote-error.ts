import { ErgonApiError, ErgonConnectionError } from '@ergon/client'
import { ERROR_CATALOGUE, type ErrorCode } from '../platform/errors/error-catalogue.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'

/** What a server refused, or a server that is not there, as an error of ours; anything else as it was. */
export function toLocalError(error: unknown): unknown {
  if (error instanceof ErgonConnectionError)
    return new ErgonError('SERVER_UNREACHABLE', error.message, { cause: error })
  if (!(error instanceof ErgonApiError)) return error
  const { code, detail, requestId, status } = error
  if (isKnown(code) && status < 500) return new ErgonError(code, detail, { cause: error })
  // Whoever runs the server finds it by the request's id.
  const request = requestId === null ? '' : `, request ${requestId}`
  const known = isKnown(code) ? code : 'SERVER_UNREACHABLE'
  return new ErgonError(known, `${detail} (HTTP ${status}${request})`, { cause: error })
}

/** Runs a question to the server. */
export async function ask<T>(question: () => Promise<T>): Promise<T> {
  try {
    return await question()
  } catch (error) {
    throw toLocalError(error)
  }
}

/** The same, with something else for a refusal of that code. */
export async function askUnless<T, R>(codes: Readonly<Record<string, R>>, question: () => Promise<T>): Promise<T | R> {
  try {
    return await question()
  } catch (error) {
    const instead =
      error instanceof ErgonApiError ? Object.entries(codes).find(([code]) => code === error.code) : undefined
    if (instead !== undefined) return instead[1]
    throw toLocalError(error)
  }
}

function isKnown(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CATALOGUE, code)
}
