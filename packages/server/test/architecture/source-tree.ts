import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { LAYERS } from '../../layers.ts'

/** The TypeScript files below a folder, as paths relative to it, sorted. */
export async function listSources(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .toSorted()
}

/** The layer that a file belongs to: the longest listed folder that holds it. */
export function layerOf(file: string): string | undefined {
  const holders = Object.keys(LAYERS).filter((folder) => file.startsWith(`${folder}/`))
  return holders.toSorted((a, b) => b.length - a.length)[0]
}
