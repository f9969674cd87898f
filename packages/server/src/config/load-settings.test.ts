import { describe, expect, it } from 'vitest'
import { loadSettings } from './load-settings.ts'

describe('loadSettings', () => {
  it('prefers the command line to the environment to the default, and says so', () => {
    const { settings, sources } = loadSettings({ ERGON_HOME: '/a', ERGON_CACHE: '/c' }, { home: '/b' })
    expect(settings).toMatchObject({ home: '/b', cache: '/c', profile: 'development', databaseUrl: null })
    expect(sources).toMatchObject({ home: 'command line', cache: 'environment', profile: 'default' })
  })

  it('reads lists', () => {
    expect(loadSettings({ ERGON_ACCEPTED_RISKS: 'wide-command,plain-http' }).settings.acceptedRisks).toEqual([
      'wide-command',
      'plain-http',
    ])
  })

  it('follows the XDG folders', () => {
    const { settings } = loadSettings({ XDG_DATA_HOME: '/data', XDG_CACHE_HOME: '/cache' })
    expect(settings).toMatchObject({ home: '/data/ergon', cache: '/cache/ergon' })
  })

  it.each([
    [{ ERGON_HOME: 'relative' }, 'ERGON_HOME (it is "relative"): expected an absolute path'],
    [{ ERGON_LOG_LEVEL: 'loud' }, 'ERGON_LOG_LEVEL'],
    [{ ERGON_SANDBOX_RUNTIME: 'docker' }, 'ERGON_SANDBOX_RUNTIME (it is "docker")'],
    [{ ERGON_PROFILE: 'production' }, 'needs DATABASE_URL'],
    [{ ERGON_ACCEPTED_RISKS: 'wide-command plain-http' }, 'expected names of rules with commas'],
  ])('refuses %j', (env, words) => {
    expect(() => loadSettings(env)).toThrow(words)
  })

  it('never shows a database URL, which holds a password', () => {
    expect(() => loadSettings({ DATABASE_URL: 'mysql://u:hunter2@h' })).toThrow(/^DATABASE_URL: expected/)
  })
})
