import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ErgonHome } from './ergon.ts'
import { leftoversAfter } from './leftovers.ts'

const checkout = path.join(import.meta.dirname, '../../../..')
const folder = mkdtempSync(path.join(tmpdir(), 'ergon-packed-'))
/** As users have it: below a folder that only they may enter. */
const installed = path.join(folder, 'private/app')
const home = new ErgonHome({}, path.join(installed, 'node_modules/@ergon/server/dist/cli/main.js'))

function npm(cwd: string, ...args: string[]): void {
  execFileSync('npm', [...args, '--no-audit', '--no-fund', '--ignore-scripts=false', '--loglevel=error'], {
    cwd,
    stdio: 'pipe',
  })
}

beforeAll(() => {
  mkdirSync(installed, { recursive: true })
  execFileSync('chmod', ['700', path.join(folder, 'private')])
  // Packing gathers files inside the package, where the commands of a checkout would take them for those of a published one.
  const copy = path.join(folder, 'checkout')
  for (const part of ['packages', 'tools', 'sandboxd', 'environments', 'examples'])
    cpSync(path.join(checkout, part), path.join(copy, part), {
      recursive: true,
      filter: (file) => path.basename(file) !== 'node_modules',
    })
  for (const name of ['contract', 'client', 'server'])
    npm(path.join(copy, 'packages', name), 'pack', '--pack-destination', folder)
  const tarballs = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  expect(tarballs).toHaveLength(3)
  writeFileSync(path.join(installed, 'package.json'), '{"private": true}')
  npm(installed, 'install', '--prefer-offline', ...tarballs.map((name) => path.join(folder, name)))
})

afterAll(async () => {
  await home.remove()
  expect(await leftoversAfter(home, 10_000)).toEqual([])
  rmSync(folder, { recursive: true, force: true })
})

test('the packed packages hold what they need and no tests', () => {
  const inside = readdirSync(path.join(installed, 'node_modules/@ergon/server'), { recursive: true, encoding: 'utf8' })
  expect(inside).toContain('sandboxd/sandboxd')
  expect(inside).toContain('environments/python-sci.yaml')
  expect(inside).toContain('examples/commerce/payments/server.mjs')
  expect(inside).toContain('sql/000001_roles_and_schema.sql')
  expect(inside.filter((name) => /\.test\.|__pycache__/.test(name))).toEqual([])
})

test('the packed client loads by its name, brings no test, and carries its types', () => {
  const program = `
    import { ErgonClient } from '@ergon/client'
    const fetch = async () => Response.json({ job_id: 'x' })
    console.log((await new ErgonClient({ url: 'https://api.test', token: 't', fetch }).get('x')).job_id)
  `
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: installed,
    encoding: 'utf8',
  })
  expect(said).toBe('x\n')
  const inside = readdirSync(path.join(installed, 'node_modules/@ergon/client'), { recursive: true, encoding: 'utf8' })
  expect(inside).toContain('dist/index.d.ts')
  expect(inside.filter((name) => /\.test\.|\.fixture\.|tsbuildinfo/.test(name))).toEqual([])
})

test('installed below a private folder, ergon finds the host fit and runs a job', async () => {
  expect((await home.run('doctor')).code).toBe(0)
  const { code, result } = await home.runProgram('import numpy\nprint(numpy.arange(3).sum())\n')
  expect({ code, stdout: result.outputs.stdout }).toEqual({ code: 0, stdout: '3\n' })
})

test('the attack matrix is in the package', async () => {
  const { code, stdout } = await home.run('doctor', '--attack-matrix', '--row', '36', '--json')
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, summary: { met: 7, gaps: 0, failed: 0 } })
  expect(code).toBe(0)
})
