import type { Command } from 'commander'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { choosePlace } from '../choose-place.ts'
import { followJob } from '../follow-job.ts'
import { registryFlag } from '../registry-flag.ts'

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
      requireJson(options.input)
      const place = await choosePlace(registryFlag(options.registry))
      const result = await place.call(reference, options.input, (control, id) => followJob(control, id, options.json))
      process.exitCode = result.status === 'SUCCEEDED' ? 0 : 1
    })
}

function requireJson(text: string): void {
  try {
    JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ErgonError('INPUT_INVALID', `--input is not JSON: ${reason.slice(0, 300)}`)
  }
}
