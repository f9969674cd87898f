import { describe, expect, it } from 'vitest'
import { parseRegistry, REGISTRY_PROFILES } from '../parse-registry.ts'
import { judgeRisks, type RiskQuestion } from './judge-risks.ts'

const REGISTRY = `services:
  - name: wide
    type: t
    category: c
    execution_type: shell
    operations: [{name: run, input_schema: {a: any}}]
    security_policy: {allowed_commands: [/bin/sh]}
  - name: tame
    type: t
    category: c
    execution_type: sandbox
    operations: [{name: run, input_schema: {a: any}}]
    runner_config: {environment: e, code: pass}
production:
  services:
    - {name: tame, security_policy: {formats: [svg]}}
`

function judge(change: Partial<RiskQuestion> = {}) {
  const parsed = parseRegistry(REGISTRY, 'r.yaml')
  expect(parsed.faults).toEqual([])
  return judgeRisks({
    parsed,
    mode: 0o644,
    profile: 'production',
    executionTypes: ['shell', 'sandbox'],
    acceptedRisks: [],
    ...change,
  })
}

describe('judgeRisks', () => {
  it('refuses in production what is high, warns in staging, leaves development alone', () => {
    const found = { line: 7, message: expect.stringMatching(/^wide-command: .*ERGON_ACCEPTED_RISKS=wide-command$/s) }
    expect(judge()).toMatchObject({ faults: [found], warnings: [] })
    expect(judge({ profile: 'staging' })).toMatchObject({ faults: [], warnings: [found] })
    expect(judge({ profile: 'development' })).toEqual({ faults: [], warnings: [] })
  })

  it('lets pass what somebody accepted, and what no worker of this question runs', () => {
    expect(judge({ acceptedRisks: ['wide-command'] })).toEqual({ faults: [], warnings: [] })
    expect(judge({ executionTypes: ['sandbox'] })).toEqual({ faults: [], warnings: [] })
  })

  it('lets nobody accept a secret that is written out in production', () => {
    const text = `services:
  - {name: a, type: t, category: c, operations: [{name: o}], runner_config: {base_url: "https://a.example.org", headers: {X-Api-Key: hunter2}}}
`
    const question = {
      parsed: parseRegistry(text, 'r.yaml'),
      executionTypes: ['http'],
      acceptedRisks: ['secret-in-clear'],
    }
    expect(judge(question).faults).toMatchObject([
      { message: 'ERGON_ACCEPTED_RISKS names secret-in-clear, which nobody may accept in production' },
      { message: expect.stringMatching(/^secret-in-clear: (?!.*ERGON_ACCEPTED_RISKS)/) },
    ])
    expect(judge({ ...question, profile: 'staging' })).toEqual({ faults: [], warnings: [] })
  })

  it('minds who may write the file', () => {
    expect(judge({ mode: 0o666, executionTypes: [] }).faults).toMatchObject([
      { message: expect.stringContaining('registry-writable') },
    ])
  })

  it.each(REGISTRY_PROFILES)('refuses to accept what is no rule, in %s', (profile) => {
    expect(judge({ profile, acceptedRisks: ['wide-command', 'plain-htp'] }).faults).toMatchObject([
      { message: 'ERGON_ACCEPTED_RISKS names plain-htp, which is no rule; did you mean plain-http?' },
    ])
  })
})
