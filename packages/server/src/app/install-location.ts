import { existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where this installation's files are. */
export interface InstallLocation {
  /** The folder below which every JavaScript file of the program lies, node_modules included. */
  root: string
  /** The compiled entry points, `<server package>/dist/cli`. */
  cli: string
  sandboxd: string
  environmentDefinitions: string
  examples: string
}

/** Finds the installation from this file's own place: a checkout, or a package below some node_modules. */
export function findInstallLocation(): InstallLocation {
  const serverPackage = realpathSync(fileURLToPath(new URL('../../', import.meta.url)))
  const segments = serverPackage.split(path.sep)
  const modules = segments.indexOf('node_modules')
  const root = modules === -1 ? path.resolve(serverPackage, '../..') : segments.slice(0, modules).join(path.sep)
  // A published package carries sandboxd, the environments and the examples in itself; a checkout has them at its root.
  const shared = existsSync(path.join(serverPackage, 'sandboxd')) ? serverPackage : root
  return {
    root,
    cli: path.join(serverPackage, 'dist/cli'),
    sandboxd: path.join(shared, 'sandboxd/sandboxd'),
    environmentDefinitions: path.join(shared, 'environments'),
    examples: path.join(shared, 'examples'),
  }
}
