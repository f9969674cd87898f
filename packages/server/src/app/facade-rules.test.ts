import { describe, expect, it } from 'vitest'
import { loadSettings } from '../config/load-settings.ts'
import { examineFacade, facadeRulesOf } from './facade-rules.ts'

const settingsOf = (env: Record<string, string>) =>
  loadSettings({ ERGON_HOME: '/h', ERGON_CACHE: '/c', ...env }).settings

describe('facadeRulesOf', () => {
  it.each([
    [{}, true, '127.0.0.1:4680', true],
    [{}, true, '[::1]:4680', true],
    [{}, true, 'localhost:4680', true],
    [{}, true, '0.0.0.0:4680', false],
    [{}, false, '127.0.0.1:4680', false],
    [{ ERGON_API_FACADE: 'off' }, true, '127.0.0.1:4680', false],
    [{ ERGON_API_FACADE: 'on' }, false, '0.0.0.0:4680', true],
  ])('with %j, in ergon dev %s, listening on %s: %s', (env, isDev, listen, isOn) => {
    expect(facadeRulesOf(settingsOf(env), { listen, isDev }) !== null).toBe(isOn)
  })

  it('has the ceilings of the service that will run the code', () => {
    const settings = settingsOf({ ERGON_EXECUTOR_POLICY: '{"limits":{"memory_mb":64}}' })
    const rules = facadeRulesOf(settings, { listen: '127.0.0.1:0', isDev: true })
    expect(rules?.ceilings).toMatchObject({ memory_mb: 64, max_artifacts: 200 })
  })
})

describe('examineFacade', () => {
  const ON = { ERGON_API_FACADE: 'on' }
  it.each([
    [{}],
    [ON],
    [{ ERGON_API_LISTEN: '0.0.0.0:4680' }],
    [{ ERGON_API_LISTEN: '0.0.0.0:4680', ERGON_API_FACADE: 'off' }],
    [{ ERGON_API_LISTEN: 'none', ...ON }],
    [
      {
        ...ON,
        ERGON_API_CORS_ORIGINS: 'https://app.example.org,http://localhost:3000,http://127.0.0.1,http://[::1]:80',
      },
    ],
  ])('has nothing against %j', (env: Record<string, string>) => {
    expect(examineFacade(settingsOf(env))).toMatchObject([{ ok: true }])
  })

  it.each([
    [{ ...ON, ERGON_API_LISTEN: '0.0.0.0:4680' }, 'ERGON_API_LISTEN is 0.0.0.0:4680'],
    [{ ...ON, ERGON_API_LISTEN: '[::]:4680' }, 'ERGON_API_LISTEN is [::]:4680'],
    [{ ...ON, ERGON_API_TRUSTED_PROXIES: '127.0.0.1' }, 'ERGON_API_TRUSTED_PROXIES'],
    [{ ...ON, ERGON_API_FACADE_HOSTS: 'ergon.example.org' }, 'ERGON_API_FACADE_HOSTS names ergon.example.org'],
    [{ ERGON_API_CORS_ORIGINS: 'http://app.example.org' }, 'ERGON_API_CORS_ORIGINS names http://app.example.org'],
    [{ ...ON, ERGON_API_CORS_ORIGINS: 'http://*' }, 'ERGON_API_CORS_ORIGINS names http://*'],
  ])('calls %j high', (env: Record<string, string>, words) => {
    const [finding] = examineFacade(settingsOf(env))
    expect(finding).toMatchObject({ ok: false, isEssential: false })
    expect(finding?.detail).toContain(`high: `)
    expect(finding?.detail).toContain(words)
  })
})
