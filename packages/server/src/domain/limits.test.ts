import { DEFAULT_JOB_LIMITS, type JobLimits } from '@ergon/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { applyPolicy, type EffectiveLimits, toSandboxLimits } from './limits.ts'
import { EXECUTOR_POLICY, parseSandboxPolicy, sandboxPolicySchema } from './sandbox-policy.ts'

const NAMES = Object.keys(DEFAULT_JOB_LIMITS) as (keyof EffectiveLimits)[]

function effective(asked: JobLimits, policy = EXECUTOR_POLICY): EffectiveLimits {
  const applied = applyPolicy(asked, policy)
  if (!applied.ok) throw new Error(applied.failure.message)
  return applied.limits
}

describe('applyPolicy', () => {
  it("gives a job that says nothing the contract's defaults", () => {
    expect(effective({})).toEqual(DEFAULT_JOB_LIMITS)
  })

  it('gives a job that says nothing the ceiling where that is lower than the default', () => {
    const policy = sandboxPolicySchema.parse({ limits: { memory_mb: 128, max_pids: 2 } })
    expect(effective({}, policy)).toMatchObject({ memory_mb: 128, max_pids: 2, disk_mb: 64, max_file_mb: 128 })
  })

  it.each(NAMES)('takes the ceiling of %s, refuses one more and names both numbers', (name) => {
    const ceiling = EXECUTOR_POLICY.limits[name]
    expect(effective({ [name]: ceiling })[name]).toBe(ceiling)
    expect(applyPolicy({ [name]: ceiling + 1 }, EXECUTOR_POLICY)).toMatchObject({
      ok: false,
      failure: {
        category: 'VALIDATION_ERROR',
        code: 'LIMIT_ABOVE_POLICY',
        message: `limits.${name} is ${ceiling + 1}, the service's policy allows at most ${ceiling}; lower it`,
      },
    })
  })

  it('names every limit that is above its ceiling', () => {
    const applied = applyPolicy({ memory_mb: 65_536, max_pids: 4_096 }, EXECUTOR_POLICY)
    expect(applied).toMatchObject({
      ok: false,
      failure: { message: expect.stringMatching(/memory_mb.*max_pids.*lower them/) },
    })
  })

  it('never gives more than the ceiling, nor other than what was asked', () => {
    const some = fc.record(Object.fromEntries(NAMES.map((name) => [name, fc.nat(2 * EXECUTOR_POLICY.limits[name])])), {
      requiredKeys: [],
    })
    fc.assert(
      fc.property(some, (asked: JobLimits) => {
        const applied = applyPolicy(asked, EXECUTOR_POLICY)
        for (const name of NAMES) {
          const value = asked[name]
          if (value !== undefined && value > EXECUTOR_POLICY.limits[name]) expect(applied.ok).toBe(false)
          if (!applied.ok) continue
          expect(applied.limits[name]).toBeLessThanOrEqual(EXECUTOR_POLICY.limits[name])
          if (value !== undefined) expect(applied.limits[name]).toBe(value)
        }
      }),
    )
  })

  it('leaves half of the memory for the program itself unless the job says otherwise', () => {
    expect(effective({ memory_mb: 64 })).toMatchObject({ disk_mb: 32, max_artifact_mb: 32, max_file_mb: 64 })
    expect(effective({ memory_mb: 64, disk_mb: 100 })).toMatchObject({ disk_mb: 100 })
  })
})

it('every limit of a job reaches the sandbox', () => {
  const before = effective({})
  for (const name of NAMES) {
    expect(toSandboxLimits({ ...before, [name]: before[name] + 1 }, 100)).not.toEqual(toSandboxLimits(before, 100))
  }
})

describe('parseSandboxPolicy', () => {
  it('fills in what is not said', () => {
    const parsed = parseSandboxPolicy('{"limits":{"memory_mb":64},"on_output_limit":"truncate"}')
    expect(parsed).toEqual({
      ok: true,
      policy: {
        ...EXECUTOR_POLICY,
        on_output_limit: 'truncate',
        limits: { ...EXECUTOR_POLICY.limits, memory_mb: 64 },
      },
    })
  })

  it.each([
    ['{', 'expected a JSON object'],
    ['[]', 'policy: '],
    ['{"limits":{"memry_mb":64}}', 'limits: Unrecognized key: "memry_mb"'],
    ['{"limits":{"memory_mb":1}}', 'limits.memory_mb: '],
    ['{"on_output_limit":"ignore"}', 'on_output_limit: '],
    ['{"isolation":"none"}', 'isolation: '],
    ['{"formats":["exe"]}', 'formats.0: '],
  ])('refuses %s and says where', (text, words) => {
    expect(parseSandboxPolicy(text)).toMatchObject({ ok: false, problem: expect.stringContaining(words) })
  })
})
