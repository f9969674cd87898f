import type { Command } from 'commander'
import { whyNotServed } from '../../app/served-lanes.ts'
import { loadSettings } from '../../config/load-settings.ts'
import type { Settings } from '../../config/settings.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { requireInput } from '../../control/call-service.ts'
import { followJob } from '../follow-job.ts'
import { registryFlag } from '../registry-flag.ts'
import { withDatabase } from '../with-database.ts'

interface Options {
  input: string
  registry?: string
  json: boolean
}

export function addCallCommand(program: Command): void {
  program
    .command('call')
    .description('call an operation of a registered service, follow the job, and show its result')
    .argument('<operation>', 'SERVICE.OPERATION; case does not count')
    .option('--input <json>', "the operation's input", '{}')
    .option('--registry <file>', 'the service registry, instead of ERGON_REGISTRY')
    .option('--json', 'print exactly the result envelope', false)
    .addHelpText(
      'after',
      `\nExample:\n  ergon call co2.fit --input '{"parameters": {"years": 10}}' --registry examples/registry/registry.yaml\n\nExit status: 0 succeeded, 1 the job failed, 2 a wrong call, 3 something outside is missing.`,
    )
    .action(async (reference: string, options: Options) => {
      // Here, since the checker of schemas takes 0.2 s to load, and most commands need none.
      const { openRegistry, requireRunner } = await import('../../control/registry-file.ts')
      const flags = registryFlag(options.registry)
      const { settings } = loadSettings(process.env, flags)
      const registry = await openRegistry({ file: settings.registry, profile: settings.profile })
      const operation = registry.operation(reference)
      requireRunner(operation.service)
      requireServed(operation.service.execution_type, settings)
      requireJson(options.input)
      requireInput(operation, options.input)
      const result = await withDatabase(
        'worker',
        async (context) => followJob(context, await context.control.submitCall(operation, options.input), options.json),
        { flags, needsRegistry: true },
      )
      process.exitCode = result.status === 'SUCCEEDED' ? 0 : 1
    })
}

/** A stack of this machine has nobody for what this machine cannot serve; behind a database of one's own there may be. */
function requireServed(type: string, settings: Settings): void {
  const reason = settings.databaseUrl === null ? whyNotServed(type, settings) : null
  if (reason !== null) throw new ErgonError('RUNNER_NOT_REGISTERED', `${type} services are not served here: ${reason}`)
}

function requireJson(text: string): void {
  try {
    JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ErgonError('INPUT_INVALID', `--input is not JSON: ${reason.slice(0, 300)}`)
  }
}
