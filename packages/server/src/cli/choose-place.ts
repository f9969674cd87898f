import { loadSettings } from '../config/load-settings.ts'
import type { Settings } from '../config/settings.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Place } from './place.ts'

/** The server that ERGON_URL names, else this machine. Each is loaded only where it is used. */
export async function choosePlace(flags: Partial<Settings> = {}): Promise<Place> {
  const { settings } = loadSettings(process.env, flags)
  if (settings.serverUrl === null) return (await import('./local-place.ts')).localPlace(flags)
  if (flags.registry !== undefined)
    throw new ErgonError(
      'OWN_STACK_NEEDED',
      `--registry names a file of this machine, and ERGON_URL the server ${settings.serverUrl}, which has services of its own: leave one of them out`,
    )
  return (await import('./remote-place.ts')).remotePlace(settings.serverUrl)
}
