import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { documentedFile, scriptOf } from './documented-examples.ts'

const checkout = path.join(import.meta.dirname, '../../../..')
const folder = mkdtempSync(path.join(tmpdir(), 'ergon-examples-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** What the compiler says of a program, as users of the client have it: with what a browser has, or what Node has. */
function check(name: string, program: string, host: 'browser' | 'node'): string {
  const source = (part: string) => [path.join(checkout, `packages/${part}/src/index.ts`)]
  writeFileSync(path.join(folder, name), program)
  writeFileSync(
    path.join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        ...{ target: 'es2024', module: 'preserve', moduleResolution: 'bundler', noEmit: true, skipLibCheck: true },
        ...{ allowJs: true, checkJs: true, allowImportingTsExtensions: true, strict: false },
        lib: host === 'browser' ? ['es2024', 'dom', 'dom.iterable'] : ['es2024'],
        types: host === 'browser' ? [] : ['node'],
        typeRoots: [path.join(checkout, 'node_modules/@types')],
        paths: {
          '@ergon/client': source('client'),
          '@ergon/contract': source('contract'),
          zod: [path.join(checkout, 'node_modules/zod')],
        },
      },
      files: [name],
    }),
  )
  const { stdout } = spawnSync(path.join(checkout, 'node_modules/.bin/tsc'), ['-p', folder], { encoding: 'utf8' })
  return stdout
}

// A compiler is started, which takes its time where much else runs.
const timeout = 60_000

test('the program of the documentation fits the client', { timeout }, () => {
  expect(check('example.mjs', documentedFile('example.mjs'), 'node')).toBe('')
})

test('the page of the documentation fits the client and a browser', { timeout }, () => {
  const script = scriptOf(documentedFile('example.html'))
  expect(check('example.js', script, 'browser')).toBe('')
  // A compiler that checks nothing would be content with everything.
  const wrong = script
    .replace('event.data.text', 'event.data.txt')
    .replace("querySelector('form')", "querySelector('pre')")
  expect(check('example.js', wrong, 'browser')).toMatch(/'txt' does not exist/)
})
