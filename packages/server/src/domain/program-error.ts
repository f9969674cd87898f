import type { Failure } from '@ergon/contract'
import { z } from 'zod'
import type { SandboxEvidence } from './sandbox-evidence.ts'

/** What the language shim says of an exception. Hostile: the program shares a process with the shim. */
const reportSchema = z.object({
  kind: z.string().max(64),
  type: z.string().max(512).default(''),
  message: z.string().max(8192).default(''),
  line: z.number().int().nullable().default(null),
  column: z.number().int().nullable().default(null),
  traceback: z.string().max(32_768).nullable().default(null),
})

/**
 * The failure of a program that ended by itself, unsuccessfully. The shim's report only names the error: it can turn
 * a user's error into another kind of user's error, never into a limit, a violation or a fault of ours.
 */
export function describeProgramError(evidence: SandboxEvidence): Failure {
  const { exit } = evidence
  if (exit.kind === 'signaled') {
    return userError(
      'KILLED_BY_SIGNAL',
      `The program was ended by signal ${exit.signal}, which it or a process of its own sent or caused.`,
    )
  }
  const report = reportSchema.safeParse(evidence.report)
  if (report.success && report.data.kind === 'exception') return describeException(report.data)
  const code = exit.kind === 'exited' ? exit.code : null
  const failure = userError('NON_ZERO_EXIT', `The program exited with status ${code}.`)
  return code === null
    ? failure
    : { ...failure, details: { traceback: null, line: null, column: null, exit_code: code } }
}

function describeException(report: z.infer<typeof reportSchema>): Failure {
  const details = {
    traceback: report.traceback,
    line: report.line,
    column: report.column,
  }
  const where = report.line === null ? '' : ` (line ${report.line})`
  const message = `${report.type}: ${report.message}${where}`
  if (report.type === 'ModuleNotFoundError') {
    return {
      category: 'DEPENDENCY_ERROR',
      code: 'MODULE_NOT_FOUND',
      message: `${message}. Packages come from the job's environment only; choose an environment that has it.`,
      evidence: null,
      details,
    }
  }
  const isSyntaxError = ['SyntaxError', 'IndentationError', 'TabError'].includes(report.type)
  return {
    ...userError(isSyntaxError ? 'PYTHON_SYNTAX_ERROR' : 'PYTHON_EXCEPTION', message),
    details,
  }
}

function userError(code: string, message: string): Failure {
  return {
    category: 'USER_CODE_ERROR',
    code,
    message,
    evidence: null,
    details: null,
  }
}
