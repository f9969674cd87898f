import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import { findInstallLocation } from '../../app/install-location.ts'
import { prepareHome, workerUser } from '../../app/prepare-home.ts'
import { homePaths } from '../../config/home-paths.ts'
import { loadSettings } from '../../config/load-settings.ts'
import type { Settings } from '../../config/settings.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import { buildEnvironment } from '../../sandbox/environments/build-environment.ts'
import { listEnvironments } from '../../sandbox/environments/installed-environments.ts'
import { formatTable } from '../terminal.ts'

export function addEnvCommand(program: Command): void {
  const env = program.command('env').description('build and list the environments that jobs run in')

  env
    .command('build')
    .description('build an environment from its definition')
    .argument('<name>', 'the name of a definition in environments/, or a .yaml file')
    .option('--locked <file>', 'reproduce exactly the environment of this lock file, or refuse')
    .option('--refresh', 'ask the mirrors again: takes in security updates as a new version', false)
    .option('--json', 'one JSON object', false)
    .addHelpText('after', '\nExamples:\n  ergon env build python-sci\n  ergon env build ./mine.yaml')
    .action(async (name: string, options: { locked?: string; refresh: boolean; json: boolean }) => {
      const { settings } = loadSettings(process.env)
      const paths = homePaths(settings)
      await prepareHome(paths, workerUser())
      const built = await buildEnvironment({
        definitionFile: await findDefinition(name),
        environmentsDir: paths.environments,
        cacheDir: settings.cache,
        mirrors: chosenMirrors(settings),
        refresh: options.refresh,
        ...(options.locked === undefined ? {} : { locked: options.locked }),
        onProgress: (line) => process.stderr.write(`${line}\n`),
      })
      process.stdout.write(
        options.json
          ? `${JSON.stringify({ env_version: built.envVersion, source: built.source })}\n`
          : `${built.envVersion}\n`,
      )
    })

  env
    .command('list')
    .description('the environments that are built')
    .option('--json', 'one JSON array', false)
    .addHelpText('after', '\nExample:\n  ergon env list')
    .action(async (options: { json: boolean }) => {
      const { settings } = loadSettings(process.env)
      const installed = await listEnvironments(homePaths(settings).environments)
      const rows = installed.map(({ name, envVersion, language, isDefault, lock }) => ({
        name,
        env_version: envVersion,
        language,
        is_default: isDefault,
        built_at: lock.built_at,
      }))
      if (options.json) process.stdout.write(`${JSON.stringify(rows)}\n`)
      else if (rows.length === 0)
        process.stdout.write('no environment is built yet; `ergon env build python-sci` builds one\n')
      else
        process.stdout.write(
          formatTable([
            ['VERSION', 'LANGUAGE', 'DEFAULT', 'BUILT'],
            ...rows.map((row) => [row.env_version, row.language, row.is_default ? 'yes' : '', row.built_at]),
          ]),
        )
    })
}

function chosenMirrors({ debianMirror, debianSecurityMirror }: Settings) {
  return {
    ...(debianMirror === null ? {} : { main: debianMirror }),
    ...(debianSecurityMirror === null ? {} : { security: debianSecurityMirror }),
  }
}

async function findDefinition(name: string): Promise<string> {
  if (name.endsWith('.yaml') || name.endsWith('.yml')) return path.resolve(name)
  const folder = findInstallLocation().environmentDefinitions
  const file = path.join(folder, `${name}.yaml`)
  if (/^[a-z][a-z0-9-]*$/.test(name) && existsSync(file)) return file
  const known = (await readdir(folder)).filter((each) => each.endsWith('.yaml')).map((each) => each.slice(0, -5))
  const similar = closestMatch(name, known)
  throw new ErgonError(
    'ENVIRONMENT_NOT_FOUND',
    `there is no definition of an environment ${JSON.stringify(name)}${similar === undefined ? '.' : `; did you mean "${similar}"?`} Definitions: ${known.join(', ')}`,
  )
}
