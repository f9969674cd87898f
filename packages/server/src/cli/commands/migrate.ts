import type { Command } from 'commander'
import { useStack } from '../../app/stack-client.ts'
import { homePaths } from '../../config/home-paths.ts'
import { loadSettings } from '../../config/load-settings.ts'
import { createPool } from '../../platform/db/database.ts'
import { type MigrateResult, migrate } from '../../platform/db/migrate.ts'

export function addMigrateCommand(program: Command): void {
  program
    .command('migrate')
    .description("bring the database's jobs schema up to date; adopts an existing older one without losing a row")
    .option('--json', 'one JSON object', false)
    .addHelpText('after', '\nExample:\n  DATABASE_URL=postgresql://owner@db.example/app ergon migrate')
    .action(async (options: { json: boolean }) => {
      const { settings } = loadSettings(process.env)
      const use = settings.databaseUrl === null ? await useStack(settings, homePaths(settings), 'database') : null
      const db = createPool(settings.databaseUrl ?? use?.databaseUrl ?? '', {
        maxConnections: 1,
        applicationName: 'ergon-migrate',
      })
      try {
        const report = await migrate(db)
        process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : `${describe(report)}\n`)
      } finally {
        await db.end()
        await use?.release()
      }
    })
}

function describe({ applied, adopted }: MigrateResult): string {
  const done = applied.length === 0 ? 'nothing was missing' : `applied ${applied.join(', ')}`
  return `the schema is up to date: ${done}${adopted ? '; the existing jobs were adopted' : ''}`
}
