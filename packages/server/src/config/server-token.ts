import { readFileSync } from 'node:fs'
import { TOKEN_PATTERN } from '@ergon/contract'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { SETTING_VARIABLES } from './setting-catalogue.ts'
import type { Settings } from './settings.ts'

/** No setting, so that nothing which shows or hands on settings has it. */
const TOKEN_VARIABLE = 'ERGON_TOKEN'

/** Whether commands are about a server's jobs; what it says may still be refused. */
export function namesServer(env: NodeJS.ProcessEnv): boolean {
  return (env[SETTING_VARIABLES.serverUrl] ?? '') !== ''
}

/** The environment without the token: for children. */
export function withoutToken(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => name !== TOKEN_VARIABLE))
}

/** Takes the token for the server out of the environment, or from its file; throws CONFIG_INVALID, which never shows it. */
export function takeServerToken(env: NodeJS.ProcessEnv, { tokenFile, serverUrl }: Settings): string {
  const text = env[TOKEN_VARIABLE]
  delete env[TOKEN_VARIABLE]
  if (text !== undefined && text !== '') return requireToken(text, TOKEN_VARIABLE)
  if (tokenFile !== null) return requireToken(readTokenFile(tokenFile), tokenFile)
  throw new ErgonError(
    'CONFIG_INVALID',
    `${SETTING_VARIABLES.serverUrl} is ${String(serverUrl)}, which needs a token: set ${TOKEN_VARIABLE}, or ${SETTING_VARIABLES.tokenFile} to a file with it; \`ergon tokens create\` on the server makes one`,
  )
}

function requireToken(text: string, where: string): string {
  if (TOKEN_PATTERN.test(text.trim())) return text.trim()
  throw new ErgonError(
    'CONFIG_INVALID',
    `${where}: expected a token as \`ergon tokens create\` prints it, ergon_ and 76 more characters; this has ${text.trim().length} (it is not shown here)`,
  )
}

function readTokenFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ErgonError('CONFIG_INVALID', `${SETTING_VARIABLES.tokenFile}: ${reason}`)
  }
}
