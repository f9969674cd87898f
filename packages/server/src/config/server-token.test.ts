import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { childEnvironment } from './child-environment.ts'
import { loadSettings, readSettings } from './load-settings.ts'
import { takeServerToken } from './server-token.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'ergon-token-'))
afterAll(() => rmSync(folder, { recursive: true }))

const TOKEN = `ergon_${'0a'.repeat(16)}_${'S'.repeat(43)}`
const URL_VARIABLE = { ERGON_URL: 'https://ergon.example.org' }
const take = (env: NodeJS.ProcessEnv) => takeServerToken(env, loadSettings({ ...URL_VARIABLE, ...env }).settings)

describe('the token', () => {
  test('is taken out of the environment', () => {
    const env = { ERGON_TOKEN: TOKEN, PATH: '/bin' }
    expect(take(env)).toBe(TOKEN)
    expect(env).toEqual({ PATH: '/bin' })
  })

  test('is read from its file', () => {
    const file = path.join(folder, 'token')
    writeFileSync(file, `${TOKEN}\n`)
    expect(take({ ERGON_TOKEN_FILE: file })).toBe(TOKEN)
    expect(() => take({ ERGON_TOKEN_FILE: `${file}.gone` })).toThrow(/^ERGON_TOKEN_FILE: ENOENT/)
  })

  test('is asked for where it is not', () => {
    expect(() => take({})).toThrow(/ERGON_URL is https:\/\/ergon\.example\.org, which needs a token: set ERGON_TOKEN/)
  })

  test('is not shown where it is wrong', () => {
    const wrong = TOKEN.slice(0, -1)
    expect(() => take({ ERGON_TOKEN: wrong })).toThrow(/^ERGON_TOKEN: expected a token/)
    expect(() => take({ ERGON_TOKEN: wrong })).not.toThrow(/SSS/)
  })

  test('is no setting, and no child has it', () => {
    const env = { ...URL_VARIABLE, ERGON_TOKEN: TOKEN, ERGON_TOKEN_FILE: '/t' }
    const loaded = loadSettings(env)
    expect(JSON.stringify(loaded)).not.toContain(TOKEN)
    const child = childEnvironment(loaded.settings, env)
    expect(JSON.stringify(child)).not.toContain(TOKEN)
    expect(child).toMatchObject({ ERGON_URL: '', ERGON_TOKEN_FILE: '' })
  })
})

describe('ERGON_URL', () => {
  test.each([
    'https://ergon.example.org',
    'https://host/base/',
    'http://127.0.0.1:4680',
    'http://localhost:1',
    'http://[::1]:1',
  ])('may be %s', (text) => expect(readSettings({ ERGON_URL: text }).settings.serverUrl).toBe(text))

  test.each([
    ['http://ergon.example.org', 'expected https://'],
    ['http://127.0.0.1.example.org', 'expected https://'],
    ['ftp://h', 'expected a URL that begins with https://'],
    ['https://u:hunter2@h', 'expected no user or password'],
    ['https://h/?token=x', 'expected nothing behind the path'],
  ])('is not %s', (text, words) => {
    expect(() => readSettings({ ERGON_URL: text })).toThrow(words)
    expect(() => readSettings({ ERGON_URL: text })).not.toThrow('hunter2')
  })

  test('needs nothing of what a profile demands of those who run jobs', () => {
    expect(loadSettings({ ...URL_VARIABLE, ERGON_PROFILE: 'production' }).settings.profile).toBe('production')
  })
})
