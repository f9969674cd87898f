import { z } from 'zod'

/** What `GET /info` tells of the things that isolation rests on. */
export const engineInfoSchema = z.object({
  /** From `GET /version`: which of the engines that speak this API it is. */
  isPodman: z.boolean().default(false),
  /** From there too. */
  ApiVersion: z.string().optional(),
  ServerVersion: z.string().optional(),
  OSType: z.string().optional(),
  SecurityOptions: z.array(z.string()).nullish(),
  MemoryLimit: z.boolean().optional(),
  SwapLimit: z.boolean().optional(),
  PidsLimit: z.boolean().optional(),
  CpuCfsQuota: z.boolean().optional(),
  DockerRootDir: z.string().optional(),
})
export type EngineInfo = z.infer<typeof engineInfoSchema>

export const engineVersionSchema = z.object({
  ApiVersion: z.string().optional(),
  Components: z.array(z.object({ Name: z.string() })).nullish(),
})

/** The first API that can leave out of a mount what is mounted below it (Docker 19.03). */
const LEAST_API = [1, 40] as const

/** What an engine cannot hold a container to, in words for its operator; empty for one that jobs may run on. */
export function findLacks(info: EngineInfo): string[] {
  const lacks: string[] = []
  // Tried with Podman 4.3, through Docker's API and its own: it ignores the bound of a volume that is made with its container
  // and makes it on disk; gives the input folder to the job; takes neither owner nor mode for a tmpfs, so that the job
  // cannot write there; and says nothing of an out-of-memory kill, which then looks like the program's own end.
  if (info.isPodman)
    lacks.push('it is Podman, whose volumes have no bound and which tells no out-of-memory kill: use Docker')
  if (info.OSType !== undefined && info.OSType !== 'linux')
    lacks.push(`it runs ${info.OSType} containers, not linux ones`)
  if (!isNewEnough(info.ApiVersion ?? ''))
    lacks.push(
      `it speaks version ${info.ApiVersion ?? 'unknown'} of the API, not ${LEAST_API.join('.')} (Docker 19.03)`,
    )
  if (!hasSeccomp(info.SecurityOptions ?? []))
    lacks.push('it reports no seccomp profile (SecurityOptions): start it with its default profile')
  // Without cgroups of its own such an engine reports none of the limits below, and keeps none.
  if (isRootless(info) && info.MemoryLimit !== true)
    lacks.push('it runs without root and without cgroups: give its user cgroup v2 with delegated controllers (systemd)')
  if (info.MemoryLimit !== true) lacks.push('it reports no memory limit (cgroup controller memory)')
  if (info.SwapLimit !== true) lacks.push('it reports no swap limit: boot with swapaccount=1, or use cgroup v2')
  if (info.PidsLimit !== true) lacks.push('it reports no limit of processes (cgroup controller pids)')
  if (info.CpuCfsQuota !== true) lacks.push('it reports no CPU quota (cgroup controller cpu)')
  return lacks
}

function isNewEnough(apiVersion: string): boolean {
  const [major = 0, minor = 0] = apiVersion.split('.').map(Number)
  return major > LEAST_API[0] || (major === LEAST_API[0] && minor >= LEAST_API[1])
}

function isRootless({ SecurityOptions: options }: EngineInfo): boolean {
  return (options ?? []).includes('name=rootless')
}

/** `name=seccomp,profile=default`, or `builtin` in newer engines, or the operator's own file; `unconfined` is none. */
function hasSeccomp(options: readonly string[]): boolean {
  const seccomp = options.find((option) => option.split(',').includes('name=seccomp'))
  return seccomp !== undefined && !seccomp.split(',').includes('profile=unconfined')
}
