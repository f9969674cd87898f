import { DEFAULT_JOB_LIMITS } from '@ergon/contract'
import { describe, expect, it } from 'vitest'
import { applyPolicy } from './limits.ts'
import { executorPolicyOf, PROFILE_RULES, PROFILES } from './profiles.ts'
import { EXECUTOR_POLICY } from './sandbox-policy.ts'

const NAMES = Object.keys(DEFAULT_JOB_LIMITS) as (keyof typeof DEFAULT_JOB_LIMITS)[]

describe('profiles', () => {
  it('leave development as the policy of the built-in service is', () => {
    expect(executorPolicyOf('development', null)).toEqual(EXECUTOR_POLICY)
  })

  it('have lower ceilings where others share the machine, the same in staging as in production', () => {
    const { development, staging, production } = PROFILE_RULES
    expect(staging.executorLimits).toEqual(production.executorLimits)
    expect(production.executorLimits).not.toEqual(development.executorLimits)
    for (const name of NAMES)
      expect(production.executorLimits[name]).toBeLessThanOrEqual(development.executorLimits[name])
  })

  it('give a job that asks for nothing the same in each', () => {
    const limits = PROFILES.map((profile) => applyPolicy({}, executorPolicyOf(profile, null)))
    expect(limits[0]).toMatchObject({ ok: true, limits: { memory_mb: DEFAULT_JOB_LIMITS.memory_mb } })
    expect(limits).toEqual([limits[0], limits[0], limits[0]])
  })

  it('leave the last word to the setting, limit by limit', () => {
    const policy = executorPolicyOf('production', '{"limits":{"memory_mb":16384},"isolation":"fresh"}')
    expect(policy).toMatchObject({ isolation: 'fresh', limits: { memory_mb: 16_384, timeout_ms: 900_000 } })
    expect(executorPolicyOf('production', '{"isolation":"fresh"}').limits).toEqual(
      PROFILE_RULES.production.executorLimits,
    )
  })

  it.each(PROFILES)('refuses in %s what is above its ceiling, and names it', (profile) => {
    const policy = executorPolicyOf(profile, null)
    expect(applyPolicy({ memory_mb: policy.limits.memory_mb + 1 }, policy)).toMatchObject({
      ok: false,
      failure: { message: expect.stringContaining(`allows at most ${policy.limits.memory_mb}`) },
    })
  })
})
