import { CommanderError } from 'commander'
import { ErgonError } from '../platform/errors/ergon-error.ts'

const USAGE_EXIT_CODE = 2
const INTERNAL_EXIT_CODE = 4

/** Tells the person what went wrong, as text or as one JSON object, and gives the exit code. */
export function reportError(error: unknown, asJson: boolean): number {
  const { code, message, exitCode } = describe(error)
  if (asJson) {
    const category = exitCode === USAGE_EXIT_CODE ? 'VALIDATION_ERROR' : 'INTERNAL_ERROR'
    process.stdout.write(`${JSON.stringify({ error: { category, code, message } })}\n`)
  } else {
    process.stderr.write(`ergon: ${message}\n       (${code})\n`)
  }
  return exitCode
}

function describe(error: unknown): { code: string; message: string; exitCode: number } {
  if (error instanceof ErgonError) return { code: error.code, message: error.message, exitCode: error.exitCode }
  if (error instanceof CommanderError) {
    const message = error.message.replace(/^error: /, '')
    return {
      code: 'USAGE',
      message:
        error.code === 'commander.help' ? 'a command is missing or unknown; --help shows what there is' : message,
      exitCode: USAGE_EXIT_CODE,
    }
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { code: 'INTERNAL', message, exitCode: INTERNAL_EXIT_CODE }
}
