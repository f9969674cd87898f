import path from 'node:path'
import type { Settings } from '../config/settings.ts'

/** `--registry FILE` as a setting; the file is found from here, wherever the process that reads it runs. */
export function registryFlag(file: string | undefined): Pick<Partial<Settings>, 'registry'> {
  return file === undefined ? {} : { registry: path.resolve(file) }
}
