import { Command } from 'commander'
import { VERSION } from '../app/version.ts'
import { addApiCommand } from './commands/api.ts'
import { addArtifactsCommand } from './commands/artifacts.ts'
import { addAuditCommand } from './commands/audit.ts'
import { addCallCommand } from './commands/call.ts'
import { addCallbacksCommand } from './commands/callbacks.ts'
import { addCompileCommand } from './commands/compile.ts'
import { addDevCommand } from './commands/dev.ts'
import { addDoctorCommand } from './commands/doctor.ts'
import { addEnvCommand } from './commands/env.ts'
import { addExamplesCommand } from './commands/examples.ts'
import { addJobsCommand } from './commands/jobs.ts'
import { addMigrateCommand } from './commands/migrate.ts'
import { addRunCommand } from './commands/run.ts'
import { addSecurityCheckCommand } from './commands/security-check.ts'
import { addServicesCommand } from './commands/services.ts'
import { addTokensCommand } from './commands/tokens.ts'
import { addValidateConfigCommand } from './commands/validate-config.ts'
import { addWorkerCommand } from './commands/worker.ts'
import { requireOwnStack } from './require-own-stack.ts'

/**
 * The whole command line; commands load what they alone need when they run, because every command waits for what is imported
 * here. Parsing throws CommanderError instead of ending the process.
 */
export function createProgram(): Command {
  const program = new Command('ergon')
    .description(
      'Runs what an application must not run inside itself: jobs from PostgreSQL, in sandboxes, with verdicts that rest on evidence.',
    )
    .version(VERSION)
    .showHelpAfterError('(ergon --help shows every command)')
    .exitOverride()
    .hook('preAction', (_program, action) => requireOwnStack(action, process.env))
    .addHelpText(
      'after',
      '\nSettings: ERGON_HOME (data), ERGON_CACHE, DATABASE_URL (else an embedded PostgreSQL), ERGON_REGISTRY, ERGON_LOG_LEVEL; ERGON_URL and ERGON_TOKEN for the jobs of a server.',
    )
  for (const add of [
    addRunCommand,
    addCallCommand,
    addServicesCommand,
    addValidateConfigCommand,
    addSecurityCheckCommand,
    addCompileCommand,
    addExamplesCommand,
    addJobsCommand,
    addCallbacksCommand,
    addArtifactsCommand,
    addAuditCommand,
    addTokensCommand,
    addApiCommand,
    addDevCommand,
    addWorkerCommand,
    addEnvCommand,
    addMigrateCommand,
    addDoctorCommand,
  ]) {
    add(program)
  }
  for (const command of allCommands(program)) command.exitOverride().configureOutput({ writeErr: () => {} })
  return program
}

function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allCommands)]
}
