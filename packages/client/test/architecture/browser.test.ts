import { execFileSync } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'

const source = path.join(import.meta.dirname, '../../src')
const files = (await readdir(source)).filter((name) => !/\.(test|fixture)\.ts$/.test(name))

/** What Node has and a browser does not. Buffer is left, since Node's own Response uses it; the compiler has none. */
const OF_NODE = ['process', 'global', 'setImmediate', 'clearImmediate']

test('nothing is imported but its own files and types of the contract', async () => {
  expect(files).toContain('client.ts')
  const imports: string[] = []
  for (const file of files) {
    const text = await readFile(path.join(source, file), 'utf8')
    expect(text).not.toMatch(/\bimport\(|\brequire\(/)
    for (const [, type = '', from = ''] of text.matchAll(/^(?:import|export)(\s+type)?\s[^'"]*?from\s+'([^']+)'/gm))
      if (!from.startsWith('./')) imports.push(`import${type} ${from}`)
  }
  expect([...new Set(imports)]).toEqual(['import type @ergon/contract'])
})

test('the compiler has what a browser has, and nothing of Node', async () => {
  const config = await readFile(path.join(source, '../tsconfig.json'), 'utf8')
  expect(config).toMatch(/"types": \[\]/)
  expect(config).toMatch(/"lib": \["es2024", "dom", "dom\.iterable"\]/)
})

test('it loads and calls where Node’s globals are not', () => {
  // Node makes its fetch at the first use, and needs its globals for that.
  const program = `
    new Response('')
    for (const name of ${JSON.stringify(OF_NODE)}) delete globalThis[name]
    const { ErgonClient } = await import(${JSON.stringify(path.join(source, 'index.ts'))})
    const fetch = async (url) => new Response(JSON.stringify({ asked: url }))
    const answer = await new ErgonClient({ url: 'https://api.test', token: 't', fetch }).get('a b')
    console.log(typeof process, answer.asked)
  `
  const said = execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', program], {
    encoding: 'utf8',
  })
  expect(said).toBe('undefined https://api.test/v1/jobs/a%20b\n')
})
