import type { Command } from 'commander'
import type { ServiceSummary } from '../../control/registry-file.ts'
import { choosePlace } from '../choose-place.ts'
import type { ServiceCatalogue } from '../place.ts'
import { registryFlag } from '../registry-flag.ts'
import { formatTable } from '../terminal.ts'

interface Options {
  registry?: string
  json: boolean
}

export function addServicesCommand(program: Command): void {
  const services = program.command('services').description('what a service registry offers')
  withOptions(services.command('list'), 'a JSON array of services')
    .description('each service with its type, its operations and whether a runner serves it')
    .action(async (options: Options) => {
      const listed = await (await open(options)).list()
      if (options.json) process.stdout.write(`${JSON.stringify(listed)}\n`)
      else process.stdout.write(tableOf(listed))
    })
  withOptions(services.command('show'), 'one line instead of many')
    .description('one service as it is understood: defaults filled in, references left as references')
    .argument('<service>', 'its name; case does not count')
    .action(async (name: string, options: Options) => {
      const service = await (await open(options)).show(name)
      process.stdout.write(`${JSON.stringify(service, null, options.json ? 0 : 2)}\n`)
    })
  withOptions(services.command('schema'), 'one line instead of many')
    .description('the JSON Schemas of an operation, or without one that of a registry file, for editors')
    .argument('[operation]', 'SERVICE.OPERATION')
    .addHelpText(
      'after',
      '\nExamples:\n  ergon services schema > registry.schema.json   # then "# yaml-language-server: $schema=registry.schema.json" in the registry\n  ergon services schema co2.fit --registry examples/registry/registry.yaml',
    )
    .action(async (reference: string | undefined, options: Options) => {
      const schema =
        reference === undefined
          ? (await registryFile()).registryJsonSchema()
          : await (await open(options)).schemasOf(reference)
      process.stdout.write(`${JSON.stringify(schema, null, options.json ? 0 : 2)}\n`)
    })
}

function withOptions(command: Command, jsonHelp: string): Command {
  return command
    .option('--registry <file>', 'the service registry, instead of ERGON_REGISTRY')
    .option('--json', jsonHelp, false)
}

async function open({ registry }: Options): Promise<ServiceCatalogue> {
  return (await choosePlace(registryFlag(registry))).services()
}

/** Not imported above, since the checker of schemas takes 0.2 s to load, and most commands need none. */
const registryFile = () => import('../../control/registry-file.ts')

function tableOf(listed: readonly ServiceSummary[]): string {
  const rows = listed.map((service) => [
    service.name,
    service.type,
    service.category,
    service.display_name,
    service.has_runner ? 'yes' : 'no runner',
    service.operations.join(', '),
  ])
  return formatTable([['service', 'type', 'category', 'execution', 'served', 'operations'], ...rows])
}
