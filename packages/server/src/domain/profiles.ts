import type { JobLimits } from '@ergon/contract'
import { EXECUTOR_POLICY, type SandboxPolicy, sandboxPolicySchema } from './sandbox-policy.ts'

export const PROFILES = ['development', 'staging', 'production'] as const
export type Profile = (typeof PROFILES)[number]

/** A setting that a profile cannot do without. */
export interface RequiredSetting {
  setting: 'databaseUrl' | 'registry'
  /** `workers`: only what starts workers needs it. */
  by: 'every command' | 'workers'
  why: string
}

export interface ProfileRules {
  logLevel: 'warn' | 'info'
  required: readonly RequiredSetting[]
  /** What a worker's start does about findings of high severity of the security check. */
  highFindings: 'not looked at' | 'logged' | 'refused'
  /** Rules whose findings nobody may accept. */
  neverAccepted: readonly string[]
  /** Whether `ergon dev` makes the key that seals the audit trail where there is none. */
  makesSigningKey: boolean
  /** The most that a job of the built-in `executor` may ask for, where ERGON_EXECUTOR_POLICY says nothing else. */
  executorLimits: Required<JobLimits>
}

/** Below development's, where nobody waits for somebody else's job; what a job gets that asks for nothing is within them. */
const SHARED_LIMITS: Required<JobLimits> = {
  ...EXECUTOR_POLICY.limits,
  timeout_ms: 900_000,
  cpu_ms: 900_000,
  memory_mb: 4_096,
  max_output_kb: 1_024,
  max_artifacts: 100,
  max_artifact_mb: 256,
  max_pids: 128,
  max_file_mb: 512,
  disk_mb: 512,
}

const OWN_DATABASE: RequiredSetting = {
  setting: 'databaseUrl',
  by: 'every command',
  why: 'the embedded database is for development',
}

/**
 * All that differs between profiles. Isolation is in none of them: what a sandbox is made of, and what a service may
 * reach, is the same in each. Staging has the limits of production, so that it shows what production will refuse.
 */
export const PROFILE_RULES = {
  development: {
    logLevel: 'warn',
    required: [],
    highFindings: 'not looked at',
    neverAccepted: [],
    makesSigningKey: true,
    executorLimits: EXECUTOR_POLICY.limits,
  },
  staging: {
    logLevel: 'info',
    required: [OWN_DATABASE],
    highFindings: 'logged',
    neverAccepted: [],
    makesSigningKey: false,
    executorLimits: SHARED_LIMITS,
  },
  production: {
    logLevel: 'info',
    required: [
      OWN_DATABASE,
      {
        setting: 'registry',
        by: 'workers',
        why: 'the file of the services, or none where the built-in executor is all that is served',
      },
    ],
    highFindings: 'refused',
    neverAccepted: ['secret-in-clear'],
    makesSigningKey: false,
    executorLimits: SHARED_LIMITS,
  },
} as const satisfies Record<Profile, ProfileRules>

/** The policy of the built-in service: what the setting states, JSON that was checked, over what the profile has. */
export function executorPolicyOf(profile: Profile, stated: string | null): SandboxPolicy {
  const own: unknown = stated === null ? {} : JSON.parse(stated)
  const { limits, ...rest } = sandboxPolicySchema.parse(own)
  const named = typeof own === 'object' && own !== null && 'limits' in own ? Object.keys(own.limits ?? {}) : []
  const kept = Object.entries(limits).filter(([name]) => named.includes(name))
  return { ...rest, limits: { ...PROFILE_RULES[profile].executorLimits, ...Object.fromEntries(kept) } }
}
