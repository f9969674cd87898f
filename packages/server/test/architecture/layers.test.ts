import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { ALLOWED_PACKAGES, LAYERS, READS_PROCESS_ENV } from '../../layers.ts'
import { importsOf } from './imports-of.ts'
import { layerOf, listSources } from './source-tree.ts'

const root = path.join(import.meta.dirname, '../../src')
const sources = await listSources(root)

/** A checker that reads nothing and passes is worse than none. */
test('the sources are seen', () => {
  expect(sources.length).toBeGreaterThan(40)
  expect(sources).toContain('platform/errors/ergon-error.ts')
})

test('every folder is a listed layer', () => {
  expect(sources.filter((file) => layerOf(file) === undefined)).toEqual([])
})

test('no layer imports one it may not', async () => {
  const forbidden: string[] = []
  let seen = 0
  for (const file of sources) {
    const from = layerOf(file)
    if (from === undefined) continue
    for (const target of importsOf(await readFile(path.join(root, file), 'utf8'))) {
      seen++
      if (target.startsWith('.')) {
        const imported = path.join(path.dirname(file), target)
        const to = layerOf(imported)
        if (to !== from && (to === undefined || !LAYERS[from]?.includes(to)))
          forbidden.push(`${file} imports ${imported}`)
      } else if (ALLOWED_PACKAGES[from]?.includes(target) === false && !file.endsWith('.test.ts')) {
        forbidden.push(`${file} imports ${target}`)
      }
    }
  }
  expect(seen).toBeGreaterThan(100)
  expect(forbidden).toEqual([])
})

test('the environment of the process is read only where it may be', async () => {
  const readers: string[] = []
  for (const file of sources) {
    const layer = layerOf(file)
    if (layer === undefined || READS_PROCESS_ENV.includes(layer) || file.endsWith('.test.ts')) continue
    if (/\bprocess\s*\.\s*env\b/.test(await readFile(path.join(root, file), 'utf8'))) readers.push(file)
  }
  expect(readers).toEqual([])
})

test('only the contract package is known to the leaf', async () => {
  const leaf = path.join(root, '../../contract/src')
  const files = await listSources(leaf)
  const targets = await Promise.all(files.map(async (file) => importsOf(await readFile(path.join(leaf, file), 'utf8'))))
  const packages = new Set(targets.flat().filter((target) => !target.startsWith('.')))
  expect(files.length).toBeGreaterThan(3)
  expect([...packages].filter((name) => name !== 'zod' && name !== 'vitest')).toEqual([])
})

test.each([
  ["import { a } from './a.ts'", ['./a.ts']],
  ["import type { A } from '../a.ts'", ['../a.ts']],
  ["import {\n  a,\n  b,\n} from './a.ts'", ['./a.ts']],
  ["export * from './a.ts'", ['./a.ts']],
  ['export { a } from "./a.ts"', ['./a.ts']],
  ["import './a.ts'", ['./a.ts']],
  ["await import('./a.ts')", ['./a.ts']],
  ["const a: import('./a.ts').A = 1", ['./a.ts']],
  ["// import { a } from './a.ts'", []],
  ["const text = 'import of nothing'", []],
])('the imports of %j', (source, targets) => {
  expect(importsOf(source)).toEqual(targets)
})
