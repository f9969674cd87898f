import path from 'node:path'
import type { Command } from 'commander'
import { VERSION } from '../../app/version.ts'
import { loadSettings } from '../../config/load-settings.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'

interface Options {
  registry?: string
  out?: string
  snippet: boolean
  check: boolean
  types: boolean
}

export function addCompileCommand(program: Command): void {
  program
    .command('compile')
    .description(
      'entity files to SQL: functions whose call_service steps INSERT jobs in the application’s own transaction',
    )
    .argument('[entities...]', 'entity files; those that name one another are compiled together')
    .option('--registry <file>', 'the service registry; by default ERGON_REGISTRY')
    .option(
      '--out <folder>',
      'write SCHEMA.TABLE.sql (with --types ergon-types.ts) there instead of to standard output',
    )
    .option('--snippet', 'only the call_service steps, for functions generated elsewhere, and the callbacks', false)
    .option('--check', 'write nothing; say which files of --out are not what the entity files compile to now', false)
    .option(
      '--types',
      'TypeScript types of every operation’s input and output and of every action, instead of SQL',
      false,
    )
    .addHelpText(
      'after',
      '\nThe SQL is the same for the same files; run it as a migration, in one transaction. docs/compiler.md has the language.\n\nExamples:\n  ergon compile entities/*.yaml --registry registry.yaml --out sql/compiled\n  ergon compile entities/*.yaml --registry registry.yaml --out sql/compiled --check   # in CI\n  ergon compile entities/order.yaml --registry registry.yaml --snippet\n  ergon compile entities/*.yaml --registry registry.yaml --types --out src/generated\n\nExit status: 0 compiled or up to date, 2 faults or files that are not.',
    )
    .action(async (entities: string[], options: Options) => {
      // Here, since the checker of schemas takes 0.2 s to load, and most commands need none.
      const { compileFiles } = await import('../../compiler/compile-files.ts')
      const { settings } = loadSettings(process.env)
      if (options.check && options.out === undefined)
        throw new ErgonError('USAGE', '--check compares the files of a folder: name it with --out FOLDER')
      if (options.snippet && options.types)
        throw new ErgonError('USAGE', '--snippet is SQL and --types is TypeScript: run the command once for each')
      if (entities.length === 0 && !options.types)
        throw new ErgonError('USAGE', 'name at least one entity file, for instance: ergon compile entities/order.yaml')
      const files = await compileFiles({
        entities,
        registry: options.registry === undefined ? settings.registry : path.resolve(options.registry),
        profile: settings.profile,
        version: VERSION,
        kind: options.types ? 'types' : options.snippet ? 'snippets' : 'functions',
        out: options.out ?? null,
        isCheck: options.check,
      })
      if (options.out === undefined) process.stdout.write(files.map(({ text }) => text).join('\n'))
      else if (options.check)
        process.stdout.write(
          `${options.out}: ${files.length === 1 ? '1 file is' : `${files.length} files are`} up to date\n`,
        )
      else for (const { name } of files) process.stdout.write(`${path.join(options.out, name)}\n`)
    })
}
