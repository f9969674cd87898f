import type { ContainerCreateOptions, MountSettings } from 'dockerode'
import type { DockerConfig } from './docker-config.ts'
import { type ContainerOwner, labelsOf } from './labels.ts'

/** Where a container finds what its job brings and leaves what comes of it. */
export const INPUT_FOLDER = '/ergon/input'
export const INPUT_FILE = 'input.json'
const WORKSPACE = '/workspace'
export const OUTPUT_FOLDER = '/ergon/output'
const MAX_OUTPUT_FILES = 4_096
const HOLDER_MEMORY = 16 * 1024 * 1024
const OPEN_FILES = 1_024

/** A folder of the host that was looked at just now. */
export interface ResolvedVolume {
  realPath: string
  containerPath: string
  isReadOnly: boolean
}

export interface JobContainer {
  owner: ContainerOwner
  /** The id of the image, never its name: a name may mean another image by now. */
  imageId: string
  /** Folders that the image wants on disk (VOLUME), where nothing would bound them. */
  imageVolumes: readonly string[]
  volumes: readonly ResolvedVolume[]
  /** The container that keeps the output folder; null where the service leaves no files. */
  outputHolderId: string | null
}

/** What every container of ours has, whoever it is for. Nothing here is up to a service or a job. */
const CONFINED = {
  ReadonlyRootfs: true,
  Privileged: false,
  CapDrop: ['ALL'],
  // The engine's own seccomp profile holds too: none is named here, and an engine without one is refused.
  SecurityOpt: ['no-new-privileges'],
  IpcMode: 'private',
  RestartPolicy: { Name: '' },
  // Output reaches us by the attached stream; a log of it on the engine's disk would have no bound.
  LogConfig: { Type: 'none', Config: {} },
} as const

/** The container of one attempt: what the registry allows, and of the job nothing but its labels. */
export function jobContainer(config: DockerConfig, container: JobContainer): ContainerCreateOptions {
  const { limits, user } = config
  const { owner, imageVolumes, volumes, outputHolderId } = container
  // Owned, not open to everybody: Docker's runtime gives a tmpfs the mode of the image's folder, whatever is asked for.
  const tmpfs = `rw,nosuid,nodev,noexec,size=${limits.diskBytes},uid=${user.uid},gid=${user.gid},mode=0700`
  const mounts: MountSettings[] = [
    {
      Type: 'volume',
      Source: '',
      Target: INPUT_FOLDER,
      VolumeOptions: { NoCopy: true, Labels: {}, DriverConfig: LOCAL },
    },
    ...volumes.map(
      ({ realPath, containerPath, isReadOnly }): MountSettings => ({
        Type: 'bind',
        Source: realPath,
        Target: containerPath,
        ReadOnly: isReadOnly,
        BindOptions: BIND,
      }),
    ),
  ]
  const taken = new Set(volumes.map(({ containerPath }) => containerPath))
  const scratch = ['/tmp', WORKSPACE, ...imageVolumes].filter((folder) => !taken.has(folder))
  return {
    Image: container.imageId,
    ...(config.command === null ? {} : { Cmd: config.command }),
    ...(config.workingDir === null ? {} : { WorkingDir: config.workingDir }),
    User: `${user.uid}:${user.gid}`,
    Env: environmentOf(config, container),
    Labels: labelsOf(owner, 'job'),
    Healthcheck: { Test: ['NONE'] },
    NetworkDisabled: config.networkMode === 'none',
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    HostConfig: {
      ...CONFINED,
      CapDrop: [...CONFINED.CapDrop],
      SecurityOpt: [...CONFINED.SecurityOpt],
      // As PID 1 a program would ignore its own fatal signals.
      Init: true,
      NetworkMode: config.networkMode,
      PidsLimit: limits.pids,
      Memory: limits.memoryBytes,
      // The same number: nothing is left for swap.
      MemorySwap: limits.memoryBytes,
      NanoCpus: Math.round(limits.cpuCores * 1e9),
      ShmSize: limits.diskBytes,
      Ulimits: [
        { Name: 'core', Soft: 0, Hard: 0 },
        { Name: 'nofile', Soft: OPEN_FILES, Hard: OPEN_FILES },
      ],
      Tmpfs: Object.fromEntries(scratch.map((folder) => [folder, tmpfs])),
      Mounts: mounts,
      ...(outputHolderId === null ? {} : { VolumesFrom: [outputHolderId] }),
    },
  }
}

/** What the output folder has room for. */
export function outputFolderBytes({ artifactBytes, diskBytes }: DockerConfig['limits']): number {
  return Math.max(artifactBytes, diskBytes)
}

/**
 * The container that keeps a job's output folder, a tmpfs volume, mounted until its files are collected: an engine
 * unmounts a volume, and so forgets a tmpfs, with the last container that runs.
 */
export function outputHolder(
  { limits, user }: DockerConfig,
  owner: ContainerOwner,
  image: { id: string; program: string },
): ContainerCreateOptions {
  const options = `size=${outputFolderBytes(limits)},nr_inodes=${MAX_OUTPUT_FILES},uid=${user.uid},gid=${user.gid},mode=0700,nosuid,nodev,noexec`
  const output: MountSettings = {
    Type: 'volume',
    Source: '',
    Target: OUTPUT_FOLDER,
    VolumeOptions: {
      NoCopy: true,
      Labels: labelsOf(owner, 'files'),
      DriverConfig: { Name: 'local', Options: { type: 'tmpfs', device: 'tmpfs', o: options } },
    },
  }
  return {
    Image: image.id,
    Entrypoint: [image.program],
    Cmd: [],
    User: '65534:65534',
    Labels: labelsOf(owner, 'files'),
    NetworkDisabled: true,
    HostConfig: {
      ...CONFINED,
      CapDrop: [...CONFINED.CapDrop],
      SecurityOpt: [...CONFINED.SecurityOpt],
      NetworkMode: 'none',
      PidsLimit: 4,
      Memory: HOLDER_MEMORY,
      MemorySwap: HOLDER_MEMORY,
      Mounts: [output],
    },
  }
}

/** Without what is mounted below the folder: that is another place, which nobody allowed, and read-only would not reach it. */
const BIND = { Propagation: 'rprivate', NonRecursive: true } as const
const LOCAL = { Name: 'local', Options: {} }

/** Ours come last: a service cannot point its program at another place. */
function environmentOf({ environment }: DockerConfig, { owner, outputHolderId }: JobContainer): string[] {
  const ours: Record<string, string> = {
    ERGON_INPUT: `${INPUT_FOLDER}/${INPUT_FILE}`,
    ERGON_JOB_ID: owner.jobId,
    ERGON_ATTEMPT: String(owner.attempt),
    ...(outputHolderId === null ? {} : { ERGON_OUTPUT_DIR: OUTPUT_FOLDER }),
  }
  return Object.entries({ ...environment, ...ours }).map(([name, value]) => `${name}=${value}`)
}
