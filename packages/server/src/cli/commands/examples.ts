import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import { type Example, listExamples, requireExample } from '../../app/examples/example-catalogue.ts'
import type { StepReport } from '../../app/examples/example-step.ts'
import { loadSettings, readSettings } from '../../config/load-settings.ts'
import type { Settings } from '../../config/settings.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { makeVisible } from '../../platform/text/sanitise-output.ts'
import { VERSION } from '../../app/version.ts'
import { formatTable, paint, Spinner } from '../terminal.ts'

const INTERRUPTED = 130

export function addExamplesCommand(program: Command): void {
  const examples = program.command('examples').description('applications that show what Ergon does: list them, run one')

  examples
    .command('list')
    .description('what there is, and where its files are')
    .option('--json', 'one JSON array', false)
    .addHelpText('after', '\nExample:\n  ergon examples list')
    .action(({ json }: { json: boolean }) => {
      const all = listExamples()
      if (json) process.stdout.write(`${JSON.stringify(all)}\n`)
      else
        process.stdout.write(
          formatTable([
            ['NAME', 'FOLDER', 'DESCRIPTION'],
            ...all.map(({ name, folder, description }) => [name, folder, description]),
          ]),
        )
    })

  examples
    .command('run')
    .description('run an example against the embedded database of this data folder, and look at each of its steps')
    .argument('<name>', 'the name that `ergon examples list` shows')
    .option('--json', 'one JSON object {example, ok, steps, charges}', false)
    .addHelpText(
      'after',
      '\nExample:\n  ergon examples run commerce\n\nIt starts database, sandboxd, worker and what else the example has, and ends them; its rows and artifacts stay.\n\nExit status: 0 every step that can be tried here held, 1 one did not, 2 a wrong call, 3 something outside is missing, 130 interrupted.',
    )
    .action(async (name: string, { json }: { json: boolean }) => {
      process.exitCode = await runExample(requireExample(name), json)
    })
}

async function runExample(example: Example, isJson: boolean): Promise<number> {
  // Here, since a stack and the checker of schemas take time to load, and most commands need neither.
  const { registryOf, runCommerce } = await import('../../app/examples/run-commerce.ts')
  const { compileFiles } = await import('../../compiler/compile-files.ts')
  const registry = registryOf(example)
  const settings = exampleSettings(registry)
  const compiled = await compileFiles({
    entities: await entityFiles(example),
    registry,
    profile: settings.profile,
    version: VERSION,
    kind: 'functions',
    out: null,
    isCheck: false,
  })
  const spinner = new Spinner()
  const interruption = new AbortController()
  const onSignal = () => interruption.abort(new ErgonError('PROCESS_FAILED', 'the example was interrupted'))
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  if (!isJson) process.stdout.write(introduce(example, settings.home, compiled.length))
  try {
    spinner.show('an order lives')
    const report = await runCommerce({
      ...{ example, settings, env: process.env, signal: interruption.signal },
      compiled: compiled.map(({ text }) => text),
      onReport(step) {
        spinner.hide()
        if (!isJson) process.stdout.write(formatStep(step))
        spinner.show('an order lives')
      },
    })
    spinner.hide()
    const isGood = report.steps.every(({ outcome }) => outcome !== 'failed')
    process.stdout.write(
      isJson
        ? `${JSON.stringify({ example: example.name, ok: isGood, ...report })}\n`
        : summarise(report.steps, settings.home),
    )
    return isGood ? 0 : 1
  } catch (error) {
    if (!interruption.signal.aborted) throw error
    process.stderr.write('interrupted; everything that was started has ended\n')
    return INTERRUPTED
  } finally {
    spinner.hide()
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}

/** Settings with the example's registry; throws USAGE where they belong to something that an example must not touch. */
function exampleSettings(registry: string): Settings {
  const { settings, sources } = readSettings(process.env)
  if (settings.profile !== 'development')
    throw new ErgonError(
      'USAGE',
      `ERGON_PROFILE is ${settings.profile}, and examples are for development: ERGON_PROFILE=development ergon examples run …`,
    )
  if (settings.databaseUrl !== null)
    throw new ErgonError(
      'USAGE',
      'DATABASE_URL names a database of yours, and the example makes tables: DATABASE_URL= ergon examples run … takes the embedded one',
    )
  // The stack's log comes between what the example says, so it is warnings alone unless somebody asked for more.
  const quiet = sources.logLevel === 'default' ? { logLevel: 'warn' as const } : {}
  return loadSettings(process.env, { registry, ...quiet }, { startsWorkers: true }).settings
}

async function entityFiles({ folder }: Example): Promise<string[]> {
  const entities = path.join(folder, 'entities')
  return (await readdir(entities)).toSorted().map((file) => path.join(entities, file))
}

function introduce({ folder }: Example, home: string, files: number): string {
  return [
    `${folder}: ${files} entity ${files === 1 ? 'file' : 'files'} compiled to SQL (ergon compile shows it)`,
    `starting payment server, database, sandboxd and worker, data in ${home}`,
    '',
    '',
  ].join('\n')
}

const WORDS = { held: 'held', failed: 'FAILED', left_out: 'left out' } as const
const COLOURS = { held: 'green', failed: 'red', left_out: 'yellow' } as const
const MARGIN = ' '.repeat(10)

function formatStep({ step, outcome, detail, look }: StepReport): string {
  const lines = [
    `${paint(COLOURS[outcome], WORDS[outcome].padEnd(8))}  ${paint('bold', step)}`,
    // A payment server's and a customer's own words are in it.
    `${MARGIN}${makeVisible(detail)}`,
    ...look.map((where) => `${MARGIN}${paint('dim', `look: ${where}`)}`),
  ]
  return `${lines.join('\n')}\n`
}

function summarise(steps: readonly StepReport[], home: string): string {
  const count = (wanted: StepReport['outcome']) => steps.filter(({ outcome }) => outcome === wanted).length
  return [
    '',
    `${count('held')} held, ${count('failed')} failed, ${count('left_out')} left out. Everything that was started has ended; rows and artifacts are in ${home}.`,
    'The orders: ergon dev in one terminal, and in another psql with the URL that it prints: select * from commerce.orders;',
    '',
  ].join('\n')
}
