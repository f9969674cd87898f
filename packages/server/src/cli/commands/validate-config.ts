import path from 'node:path'
import type { Command } from 'commander'
import { loadSettings } from '../../config/load-settings.ts'
import { secretStoresOf } from '../../config/secret-stores.ts'
import type { RegistryReport } from '../../control/registry-file.ts'
import { ERROR_CATALOGUE } from '../../platform/errors/error-catalogue.ts'
import { paint } from '../terminal.ts'

interface Options {
  env: boolean
  json: boolean
}

export function addValidateConfigCommand(program: Command): void {
  program
    .command('validate-config')
    .description('every fault of a service registry, with file, line, column and path')
    .argument('[file]', 'the registry; by default ERGON_REGISTRY')
    .option(
      '--no-env',
      'do not ask whether the variables, secret files, secrets of vaults and scripts that services name are there',
    )
    .option('--json', 'one JSON object {ok, file, profile, services, faults, warnings}', false)
    .addHelpText(
      'after',
      '\nAll profiles are checked; what services name is looked for as the profile of ERGON_PROFILE names it.\n\nExamples:\n  ergon validate-config registry.yaml\n  ergon validate-config registry.yaml --no-env --json   # in CI, where no secrets are\n\nExit status: 0 valid, 2 not.',
    )
    .action(async (file: string | undefined, options: Options) => {
      // Here, since the checker of schemas takes 0.2 s to load, and most commands need none.
      const { checkRegistry, faultText } = await import('../../control/registry-file.ts')
      const { settings } = loadSettings(process.env)
      const report = await checkRegistry(
        {
          file: file === undefined ? settings.registry : path.resolve(file),
          profile: settings.profile,
          acceptedRisks: settings.acceptedRisks,
        },
        options.env ? { env: process.env, secretStores: secretStoresOf(settings) } : null,
      )
      if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`)
      else {
        for (const fault of report.faults) process.stdout.write(`${paint('red', '✗')} ${faultText(fault)}\n`)
        for (const warning of report.warnings) process.stdout.write(`${paint('yellow', '!')} ${faultText(warning)}\n`)
        process.stdout.write(`${summarise(report)}\n`)
      }
      if (!report.ok) process.exitCode = ERROR_CATALOGUE.REGISTRY_INVALID.exitCode
    })
}

function summarise({ file, profile, services, faults, warnings }: RegistryReport): string {
  const warned = warnings.length === 0 ? '' : `, ${count(warnings.length, 'warning')}`
  if (faults.length > 0) return `${file}: ${count(faults.length, 'fault')}${warned}`
  return `${file}: ${count(services, 'service')} in profile ${profile}${warned}`
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
