import type { Failure } from '@ergon/contract'

const MAX_MESSAGE = 4_000
const MAX_TRACEBACK = 16_384

/** The failure that a function reported of itself; the program's words are quoted and decide nothing. */
export function describeFunctionError(kind: string, payloadJson: string | null): Failure {
  const { errorType, errorMessage, trace, stackTrace } = readReport(payloadJson)
  const said = [errorType, errorMessage].filter((part): part is string => typeof part === 'string' && part !== '')
  const traceback = joinLines(trace) ?? joinLines(stackTrace)
  return {
    category: 'USER_CODE_ERROR',
    code: 'FUNCTION_ERROR',
    message: `The function failed (${kind})${said.length === 0 ? '' : `: ${said.join(': ')}`}`.slice(0, MAX_MESSAGE),
    evidence: null,
    details: traceback === null ? null : { traceback: traceback.slice(0, MAX_TRACEBACK), line: null, column: null },
  }
}

function readReport(payloadJson: string | null): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(payloadJson ?? 'null')
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** Some runtimes report lines, some lists of places. */
function joinLines(lines: unknown): string | null {
  if (!Array.isArray(lines) || lines.length === 0) return null
  return lines
    .slice(0, 200)
    .map((line) => (typeof line === 'string' ? line : JSON.stringify(line)))
    .join('\n')
}
