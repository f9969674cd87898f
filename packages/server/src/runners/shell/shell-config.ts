import type { ArtifactFormat, JobLimits } from '@ergon/contract'
import { applyPolicy, type EffectiveLimits } from '../../domain/limits.ts'
import { EXECUTOR_POLICY } from '../../domain/sandbox-policy.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { isServiceOf, type ServiceConfig } from '../../registry/create-services.ts'
import type { SandboxNetwork } from '../../sandbox/sandbox.ts'
import { DEFAULT_FORMATS } from '../sandboxed/sandbox-config.ts'

const MS = 1_000
/** sandboxd takes no more, counting names, values and two bytes for each; the rest of its message needs the room. */
const MAX_ENVIRONMENT_BYTES = 16_384

/** A shell service as its runner needs it. */
export interface ShellConfig {
  allowedCommands: readonly string[]
  /** What runs scripts, where `allowedCommands` has it. */
  shell: string
  /** The environment of sandboxes that commands are looked up in. */
  sandboxEnvironment: string
  variables: Readonly<Record<string, string>>
  folder: { stated: string | null; restrictions: readonly string[] }
  /** `none`: no files but /tmp; `read`: files of the call; `read_write`: also a workspace, and artifacts from it. */
  fileAccess: 'none' | 'read' | 'read_write'
  network: SandboxNetwork
  formats: readonly ArtifactFormat[]
  timeoutSeconds: number
  /** Share of the machine in per cent of a core; null for all that the worker gives a sandbox. */
  cpuPercent: number | null
  stated: JobLimits
}

/** Reads a service's configuration; throws CONFIG_INVALID for what only its expanded values can show. */
export function readShellConfig(config: unknown): ShellConfig {
  if (!isServiceOf('shell', config)) throw new ErgonError('CONFIG_INVALID', 'expected a shell service of a registry')
  const { name, runner_config: runner, security_policy: policy } = config.service
  const { cpu_seconds: cpuSeconds, cpu_cores: cpuCores, ...limits } = policy.resource_limits
  requireSmallEnvironment(name, runner.environment)
  return {
    allowedCommands: policy.allowed_commands,
    shell: runner.shell,
    sandboxEnvironment: runner.sandbox_environment,
    variables: runner.environment,
    folder: { stated: runner.working_directory ?? null, restrictions: policy.working_directory_restrictions },
    fileAccess: policy.file_access,
    network: networkOf(policy),
    formats: policy.formats ?? [...DEFAULT_FORMATS],
    timeoutSeconds: runner.timeout,
    cpuPercent: cpuCores === undefined ? null : Math.max(1, Math.round(cpuCores * 100)),
    stated: {
      ...limits,
      ...(cpuSeconds === undefined ? {} : { cpu_ms: Math.round(cpuSeconds * MS) }),
      ...(policy.max_artifacts === undefined ? {} : { max_artifacts: policy.max_artifacts }),
    },
  }
}

/** The limits of one job, whose time is the shortest of the row's, the operation's and the service's. */
export function limitsOf({ stated, timeoutSeconds }: ShellConfig, jobTimeoutSeconds: number): EffectiveLimits {
  const timeoutMs = Math.round(Math.min(timeoutSeconds, jobTimeoutSeconds) * MS)
  const asked: JobLimits = { cpu_ms: timeoutMs, ...stated, timeout_ms: timeoutMs }
  // The policy is ceiling and request at once: callers of a service ask for nothing.
  const applied = applyPolicy(asked, { ...EXECUTOR_POLICY, limits: { ...EXECUTOR_POLICY.limits, ...asked } })
  if (!applied.ok) throw new Error(applied.failure.message)
  return applied.limits
}

function networkOf({
  network_access: access,
  allowed_networks: networks,
}: ServiceConfig<'shell'>['service']['security_policy']): SandboxNetwork {
  switch (access) {
    case 'none':
      return { level: 'none' }
    case 'localhost':
      return { level: 'loopback' }
    case 'all':
      return { level: 'uplink', networks }
  }
}

function requireSmallEnvironment(name: string, variables: Readonly<Record<string, string>>): void {
  const bytes = Buffer.byteLength(JSON.stringify(variables))
  if (bytes > MAX_ENVIRONMENT_BYTES)
    throw new ErgonError(
      'CONFIG_INVALID',
      `service '${name}': runner_config.environment has ${bytes} bytes as JSON, at most ${MAX_ENVIRONMENT_BYTES} reach a sandbox`,
    )
}
