import path from 'node:path'
import type { Command } from 'commander'
import { loadSettings } from '../../config/load-settings.ts'
import type { SecurityFinding } from '../../control/registry-file.ts'
import { paint } from '../terminal.ts'

const COLOURS = { high: 'red', medium: 'yellow', low: 'dim' } as const

export function addSecurityCheckCommand(program: Command): void {
  program
    .command('security-check')
    .description('what a service registry allows and had better not: each with severity, rule, reason and remedy')
    .argument('[file]', 'the registry; by default ERGON_REGISTRY')
    .option('--json', 'one JSON object {ok, findings}', false)
    .addHelpText(
      'after',
      '\nThe services of all profiles are looked at. docs/security-check.md lists the rules.\n\nExample:\n  ergon security-check registry.yaml\n\nExit status: 0 nothing of high severity, 1 something, 2 there is no registry to check.',
    )
    .action(async (file: string | undefined, { json }: { json: boolean }) => {
      // Here, since the checker of schemas takes 0.2 s to load, and most commands need none.
      const { checkRegistrySecurity } = await import('../../control/registry-file.ts')
      const { settings } = loadSettings(process.env)
      const findings = await checkRegistrySecurity({
        file: file === undefined ? settings.registry : path.resolve(file),
        profile: settings.profile,
      })
      const isOk = findings.every(({ severity }) => severity !== 'high')
      if (json) process.stdout.write(`${JSON.stringify({ ok: isOk, findings })}\n`)
      else process.stdout.write(findings.length === 0 ? 'nothing found\n' : findings.map(describe).join(''))
      if (!isOk) process.exitCode = 1
    })
}

function describe({
  rule,
  severity,
  service,
  file,
  line,
  column,
  path: where,
  message,
  explanation,
  fix,
}: SecurityFinding): string {
  const place = `${file}:${line}:${column}: ${where === '' ? '' : `${where}: `}`
  return [
    `${paint(COLOURS[severity], severity.padEnd(6))} ${rule}${service === null ? '' : ` in ${service}`}: ${message}`,
    `       ${place.replace(/: $/, '')}`,
    `       ${explanation}`,
    `       → ${fix}`,
    '',
  ].join('\n')
}
