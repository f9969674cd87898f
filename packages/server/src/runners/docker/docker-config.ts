import { type ArtifactFormat, DEFAULT_JOB_LIMITS } from '@ergon/contract'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { checkService } from '../../registry/check-service.ts'
import { isServiceOf, type ServiceConfig } from '../../registry/create-services.ts'
import type { ServiceOf } from '../../registry/schema/service.ts'
import { splitCommand } from './split-command.ts'

/** What a container may use; files of it are memory too. */
export interface ContainerLimits {
  memoryBytes: number
  cpuCores: number
  /** CPU time of all its processes; null: as much as its wall-clock time allows. */
  cpuMs: number | null
  /** Of /tmp, /workspace, the output folder and each volume that the image declares, each. */
  diskBytes: number
  pids: number
  /** Standard output and error, each. */
  outputBytes: number
  artifactCount: number
  artifactBytes: number
}

/** One docker service as its runner needs it: nothing of a job is in here, and no job changes it. */
export interface DockerConfig {
  serviceName: string
  image: string
  pullPolicy: 'always' | 'missing' | 'never'
  /** What the registry of the image is told; null for anybody's images. */
  login: { username: string; password: string } | null
  /** The words after the image's entrypoint; null for the image's own. */
  command: string[] | null
  workingDir: string | null
  user: { uid: number; gid: number }
  environment: Readonly<Record<string, string>>
  networkMode: 'none' | 'bridge'
  volumes: readonly { hostPath: string; containerPath: string; isReadOnly: boolean }[]
  allowedHostPaths: readonly string[]
  /** The registry's own files, which no volume may show: whoever writes them decides what runs. */
  registryFiles: readonly string[]
  /** Of every operation, beside its own. */
  timeoutSeconds: number
  limits: ContainerLimits
  /** Formats that files may have; null where the service leaves none, so that there is no folder for them. */
  formats: readonly ArtifactFormat[] | null
}

const DEFAULT_FORMATS: readonly ArtifactFormat[] = ['png', 'svg', 'pdf', 'json']
const MIB = 1024 * 1024

/** Reads a service's configuration once its references are expanded; throws CONFIG_INVALID. */
export function readDockerConfig(config: unknown): DockerConfig {
  if (!isServiceOf('docker', config)) throw new ErgonError('CONFIG_INVALID', 'this is no service of type docker')
  const { service } = config
  // A second time: what a reference expanded to was no more than text when the registry was read.
  const [fault] = checkService(service).faults
  if (fault !== undefined) throw invalid(service, `${fault.path.join('.')} ${fault.message}`)
  const { runner_config: runner, security_policy: policy } = service
  // checkService has refused it; this is for the compiler, and for whoever changes checkService.
  if (runner.network_mode === 'host') throw invalid(service, 'runner_config.network_mode host is refused')
  const [uid = 0, gid = uid] = runner.user.split(':').map(Number)
  return {
    serviceName: service.name,
    image: runner.image,
    pullPolicy: runner.pull_policy,
    login: readLogin(config),
    command: readCommand(service),
    workingDir: runner.working_dir ?? null,
    user: { uid, gid },
    environment: runner.environment,
    networkMode: runner.network_mode,
    volumes: runner.volumes.map(({ host_path: hostPath, container_path: containerPath, mode }) => ({
      hostPath,
      containerPath,
      isReadOnly: mode === 'ro',
    })),
    allowedHostPaths: policy.volume_restrictions.allowed_host_paths,
    registryFiles: config.registryFiles,
    timeoutSeconds: runner.timeout,
    limits: readLimits(service),
    formats: leavesFiles(policy) ? (policy.formats ?? DEFAULT_FORMATS) : null,
  }
}

function readCommand(service: ServiceOf<'docker'>): string[] | null {
  const { command } = service.runner_config
  if (command === undefined || Array.isArray(command)) return command ?? null
  const words = splitCommand(command)
  if (words === null) throw invalid(service, 'runner_config.command has a quote that is not closed')
  return words
}

function readLogin({ service, secrets }: ServiceConfig<'docker'>): DockerConfig['login'] {
  const { registry_auth: auth } = service.runner_config
  if (auth === undefined) return null
  const [username, password] = [secrets.read(auth, 'username'), secrets.read(auth, 'password')]
  if (username === null || password === null)
    throw invalid(service, 'runner_config.registry_auth names a secret that was not handed over')
  return { username: username.trim(), password: password.trim() }
}

function readLimits({ security_policy: policy }: ServiceOf<'docker'>): ContainerLimits {
  const { resource_limits: limits } = policy
  const memoryMb = limits.memory_mb ?? DEFAULT_JOB_LIMITS.memory_mb
  // With more room for files than half the memory, a full folder would end as an out-of-memory kill.
  const diskMb = limits.disk_mb ?? Math.max(1, Math.floor(memoryMb / 2))
  return {
    memoryBytes: memoryMb * MIB,
    cpuCores: limits.cpu_cores ?? 1,
    cpuMs: limits.cpu_seconds === undefined ? null : Math.round(limits.cpu_seconds * 1_000),
    diskBytes: diskMb * MIB,
    pids: limits.max_pids ?? DEFAULT_JOB_LIMITS.max_pids,
    outputBytes: (limits.max_output_kb ?? DEFAULT_JOB_LIMITS.max_output_kb) * 1_024,
    artifactCount: policy.max_artifacts ?? DEFAULT_JOB_LIMITS.max_artifacts,
    artifactBytes: (limits.max_artifact_mb ?? Math.min(DEFAULT_JOB_LIMITS.max_artifact_mb, diskMb)) * MIB,
  }
}

function leavesFiles({ formats, max_artifacts: most }: ServiceOf<'docker'>['security_policy']): boolean {
  return most === undefined ? formats !== undefined : most > 0
}

function invalid({ name }: ServiceOf<'docker'>, problem: string): ErgonError {
  return new ErgonError('CONFIG_INVALID', `service '${name}': ${problem}`)
}
