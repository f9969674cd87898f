import { type Isolation, ISOLATIONS } from '@ergon/contract'
import { type Command, Option } from 'commander'
import { loadSettings, readSettings } from '../../config/load-settings.ts'
import { type Settings, settingsSchema } from '../../config/settings.ts'
import { ERROR_CATALOGUE } from '../../platform/errors/error-catalogue.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { parseNumber } from '../parse-options.ts'
import { paint } from '../terminal.ts'

interface DoctorOptions {
  attackMatrix: boolean
  runtime?: Settings['sandboxRuntime']
  isolation?: Isolation
  row?: number[]
  markdown: boolean
  json: boolean
}

const parseRow = parseNumber('--row', 1, 99)
const RUNTIMES = settingsSchema.shape.sandboxRuntime.options

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('every capability that the sandbox and the worker need, found or missing, with the remedy')
    .option(
      '--attack-matrix',
      'instead, run every hostile program of SECURITY.md on this host and say how it ends',
      false,
    )
    .addOption(new Option('--runtime <name>', 'the OCI runtime that the attack matrix tries').choices(RUNTIMES))
    .addOption(new Option('--isolation <mode>', 'how its jobs are isolated').choices(ISOLATIONS))
    .option('--row <n...>', 'only these rows of it', (text, before: number[] | undefined) => [
      ...(before ?? []),
      parseRow(text),
    ])
    .option('--markdown', 'the attack matrix as Markdown', false)
    .option('--json', 'one JSON object: {ok, findings}, or of the attack matrix {ok, summary, host, cases, …}', false)
    .addHelpText(
      'after',
      '\nExamples:\n  ergon doctor\n  ergon doctor --attack-matrix --runtime runc\n  ergon doctor --attack-matrix --row 1 2 3\n\nThe attack matrix starts a stack of its own, takes a minute or two, and leaves nothing.\n\nExit status: 0 the host can isolate (every row ended as owed or as a listed gap), 3 it cannot.',
    )
    .action(async (options: DoctorOptions) => {
      refuseWithoutMatrix(options)
      process.exitCode = options.attackMatrix ? await attack(options) : await examine(options)
    })
}

/** An option that does nothing would look as if it did. */
function refuseWithoutMatrix(options: DoctorOptions): void {
  const { attackMatrix, runtime, isolation, row, markdown, json } = options
  const stray = Object.entries({ runtime, isolation, row, markdown: markdown || undefined })
    .filter(([, value]) => value !== undefined)
    .map(([name]) => `--${name}`)
  if (!attackMatrix && stray.length > 0) throw new ErgonError('USAGE', `${stray.join(', ')}: only with --attack-matrix`)
  if (markdown && json) throw new ErgonError('USAGE', 'choose one of --markdown and --json')
}

async function attack({ runtime, isolation, row: rows, markdown, json }: DoctorOptions): Promise<number> {
  const { settings } = loadSettings(process.env)
  const chosen = runtime ?? settings.sandboxRuntime
  if (chosen === 'runsc' && isolation === 'warm')
    throw new ErgonError('USAGE', 'runsc has no warm templates: leave --isolation away, or say --isolation fresh')
  const { runAttackMatrix } = await import('../run-attack-matrix.ts')
  return runAttackMatrix({
    settings,
    runtime: chosen,
    isolation: isolation ?? (chosen === 'runsc' ? 'fresh' : 'warm'),
    rows,
    format: json ? 'json' : markdown ? 'markdown' : 'text',
  })
}

async function examine({ json }: DoctorOptions): Promise<number> {
  const { examineHost } = await import('../../app/doctor.ts')
  const findings = await examineHost(readSettings(process.env), process.env)
  const isFit = findings.every(({ ok, isEssential }) => ok || !isEssential)
  if (json) process.stdout.write(`${JSON.stringify({ ok: isFit, findings })}\n`)
  else {
    for (const { check, ok, detail, remedy } of findings) {
      process.stdout.write(`${ok ? paint('green', '✓') : paint('red', '✗')} ${check.padEnd(24)} ${detail}\n`)
      if (remedy !== null) process.stdout.write(`  → ${remedy}\n`)
    }
  }
  return isFit ? 0 : ERROR_CATALOGUE.HOST_CANNOT_ISOLATE.exitCode
}
