import path from 'node:path'
import type { Failure } from '@ergon/contract'
import { validationFailure } from '../sandboxed/read-payload.ts'
import { isPlainPath, resolveInRoot } from './root-path.ts'

/** Readable and executable by the job, who is neither owner nor of the group of any file. */
const OTHERS_EXECUTE = 0o001
const MAX_LISTED = 20

export type FoundCommand = { ok: true } | { ok: false; failure: Failure }

/**
 * Whether a job may start `command`: a path without detours that `allowed` lists, and a regular executable of the
 * environment. A path that is a link to another command may be started only where that one is listed too, so that what is
 * written there is what runs. Links of folders, such as /bin, do not count.
 */
export async function findCommand(rootFs: string, allowed: readonly string[], command: string): Promise<FoundCommand> {
  if (!isPlainPath(command)) {
    return refuse(`command is ${JSON.stringify(command)}: it must be an absolute path without "." and ".."`)
  }
  const listed = new Set(await Promise.all(allowed.map((each) => withRealFolder(rootFs, each))))
  if (!listed.has(await withRealFolder(rootFs, command))) {
    const known = allowed.slice(0, MAX_LISTED).join(', ')
    return refuse(`command ${command} is not among the service's allowed_commands: ${known || 'it lists none'}`)
  }
  const found = await resolveInRoot(rootFs, command)
  if (!found.ok) {
    const way = found.at === command ? command : `command ${command} leads to ${found.at}, which`
    return unusable(`${way} ${found.reason}`)
  }
  if (!listed.has(found.path)) {
    return refuse(
      `command ${command} is a link to ${found.path}, which allowed_commands does not list; list it too, or call it by its own name`,
    )
  }
  if (!found.stats.isFile() || (found.stats.mode & OTHERS_EXECUTE) === 0)
    return unusable(`${found.path} is not an executable file`)
  return { ok: true }
}

/** The path with its folder's links followed and its last name kept; one that leads nowhere stays as it is. */
async function withRealFolder(rootFs: string, command: string): Promise<string> {
  const folder = await resolveInRoot(rootFs, path.posix.dirname(command))
  return folder.ok ? path.posix.join(folder.path, path.posix.basename(command)) : command
}

function refuse(message: string): FoundCommand {
  return { ok: false, failure: validationFailure('COMMAND_NOT_ALLOWED', message) }
}

function unusable(message: string): FoundCommand {
  return {
    ok: false,
    failure: validationFailure('COMMAND_NOT_FOUND', `${message}; correct allowed_commands or sandbox_environment`),
  }
}
