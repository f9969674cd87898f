import type { Command } from 'commander'
import { examineHost } from '../../app/doctor.ts'
import { readSettings } from '../../config/load-settings.ts'
import { ERROR_CATALOGUE } from '../../platform/errors/error-catalogue.ts'
import { paint } from '../terminal.ts'

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('every capability that the sandbox and the worker need, found or missing, with the remedy')
    .option('--json', 'one JSON object {ok, findings}', false)
    .addHelpText('after', '\nExample:\n  ergon doctor\n\nExit status: 0 the host can isolate, 3 it cannot.')
    .action(async (options: { json: boolean }) => {
      const findings = await examineHost(readSettings(process.env))
      const isFit = findings.every(({ ok, isEssential }) => ok || !isEssential)
      if (options.json) process.stdout.write(`${JSON.stringify({ ok: isFit, findings })}\n`)
      else {
        for (const { check, ok, detail, remedy } of findings) {
          process.stdout.write(`${ok ? paint('green', '✓') : paint('red', '✗')} ${check.padEnd(24)} ${detail}\n`)
          if (remedy !== null) process.stdout.write(`  → ${remedy}\n`)
        }
      }
      if (!isFit) process.exitCode = ERROR_CATALOGUE.HOST_CANNOT_ISOLATE.exitCode
    })
}
