import { existsSync } from 'node:fs'
import type { HomePaths } from '../config/home-paths.ts'
import type { Settings } from '../config/settings.ts'
import { PROFILE_RULES } from '../domain/profiles.ts'
import { ensureSigningKeyFile, readSigningKeyFile } from '../platform/crypto/signing-key.ts'

/** The private key's text: of the file that the settings name, else of the data folder; null when there is none. */
export async function findSigningKey(
  { signingKeyFile }: Pick<Settings, 'signingKeyFile'>,
  paths: HomePaths,
): Promise<string | null> {
  if (signingKeyFile !== null) return readSigningKeyFile(signingKeyFile)
  return existsSync(paths.signingKey) ? readSigningKeyFile(paths.signingKey) : null
}

/** As `findSigningKey`; in development a key is made. Elsewhere it is the operator's to make, keep and hand to each machine. */
export async function ensureSigningKey(
  settings: Pick<Settings, 'signingKeyFile' | 'profile'>,
  paths: HomePaths,
): Promise<string | null> {
  if (settings.signingKeyFile === null && PROFILE_RULES[settings.profile].makesSigningKey)
    return ensureSigningKeyFile(paths.signingKey)
  return findSigningKey(settings, paths)
}
