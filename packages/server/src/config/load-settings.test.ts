import { describe, expect, it } from 'vitest'
import { childEnvironment } from './child-environment.ts'
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

  it('tells all that the profile needs, at once, and what only workers need to them alone', () => {
    const production = { ERGON_PROFILE: 'production' }
    const startsWorkers = { startsWorkers: true }
    expect(() => loadSettings(production, {}, startsWorkers)).toThrow(
      'ERGON_PROFILE is production, which needs DATABASE_URL: the embedded database is for development; ERGON_REGISTRY: ',
    )
    expect(() => loadSettings(production)).not.toThrow('ERGON_REGISTRY')
    const url = { ...production, DATABASE_URL: 'postgresql://h/d' }
    expect(loadSettings(url).settings.registry).toBeNull()
    expect(() => loadSettings(url, {}, startsWorkers)).toThrow('which needs ERGON_REGISTRY')
    expect(loadSettings({ ...url, ERGON_REGISTRY: 'none' }, {}, startsWorkers).settings.registry).toBeNull()
    expect(loadSettings(url, { registry: '/r.yaml' }, startsWorkers).settings.registry).toBe('/r.yaml')
    expect(() => loadSettings({ ERGON_PROFILE: 'staging' }, {}, startsWorkers)).toThrow(/needs DATABASE_URL[^;]*$/)
  })

  it('hands a child the choice of no registry, which it would else have forgotten to make', () => {
    const env = { ERGON_REGISTRY: 'none', ERGON_PROFILE: 'production', DATABASE_URL: 'postgresql://h/d' }
    const { settings } = loadSettings(env)
    expect(loadSettings(childEnvironment(settings, env), {}, { startsWorkers: true }).settings).toEqual(settings)
  })

  it('tells every value that cannot be used, at once', () => {
    expect(() => loadSettings({ ERGON_HOME: 'relative', ERGON_LOG_LEVEL: 'loud', ERGON_PROFILE: 'prod' })).toThrow(
      /ERGON_PROFILE \(it is "prod"\).*; ERGON_HOME .*; ERGON_LOG_LEVEL /,
    )
  })

  it('has the log level of its profile unless somebody says another', () => {
    const levelIn = (env: Record<string, string>) =>
      loadSettings({ DATABASE_URL: 'postgresql://h/d', ...env }).settings.logLevel
    expect(levelIn({})).toBe('warn')
    expect(levelIn({ ERGON_PROFILE: 'staging' })).toBe('info')
    expect(levelIn({ ERGON_PROFILE: 'production' })).toBe('info')
    expect(levelIn({ ERGON_PROFILE: 'production', ERGON_LOG_LEVEL: 'error' })).toBe('error')
  })

  it('never shows a database URL, which holds a password', () => {
    expect(() => loadSettings({ DATABASE_URL: 'mysql://u:hunter2@h' })).toThrow(/^DATABASE_URL: expected/)
  })
})
