import type { Command } from 'commander'
import { namesServer } from '../config/server-token.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'

/** About jobs, wherever they are. */
const ABOUT_JOBS: readonly string[] = ['run', 'call', 'jobs', 'artifacts', 'services']
/** About files alone. */
const ABOUT_FILES: readonly string[] = ['validate-config', 'security-check', 'compile']

/**
 * Refuses what a server is not asked for while one is named, so that nobody migrates, say, another database than they
 * think. The token stays only where it is used, so that no other command's child has it. Throws OWN_STACK_NEEDED.
 */
export function requireOwnStack(action: Command, env: NodeJS.ProcessEnv): void {
  const name = topLevelName(action)
  if (!namesServer(env) || !ABOUT_JOBS.includes(name)) delete env['ERGON_TOKEN']
  if (!namesServer(env) || ABOUT_JOBS.includes(name) || ABOUT_FILES.includes(name)) return
  throw new ErgonError(
    'OWN_STACK_NEEDED',
    `\`ergon ${name}\` works with the stack of this machine, and ERGON_URL names the server ${String(env['ERGON_URL'])}: unset it (ERGON_URL= ergon ${name} …), or run the command on that server`,
  )
}

function topLevelName(command: Command): string {
  let at = command
  while (at.parent?.parent) at = at.parent
  return at.name()
}
