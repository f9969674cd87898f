import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { z } from 'zod'
import { homePaths } from '../config/home-paths.ts'
import type { Settings } from '../config/settings.ts'
import { findInstallLocation } from './install-location.ts'

const run = promisify(execFile)

const probeSchema = z.object({
  kernel: z.string().default('unknown'),
  python: z.string().default('unknown'),
  rootless: z.boolean().default(false),
  cgroup: z
    .object({ layout: z.string(), controllers: z.array(z.string()) })
    .default({ layout: 'unknown', controllers: [] }),
  runtimes: z.array(z.object({ name: z.string(), version: z.string() })).default([]),
  uplink: z.object({ lack: z.string().nullable() }).default({ lack: 'sandboxd did not say' }),
  missing: z.array(z.object({ capability: z.string(), detail: z.string(), remedy: z.string() })),
})
/** What this host offers to isolate with; `missing` is empty when sandboxes can run. */
export type IsolationProbe = z.infer<typeof probeSchema>

/** Asks sandboxd, which really tries each thing; nothing of it stays. */
export async function probeIsolation(settings: Settings): Promise<IsolationProbe> {
  const { sandboxd } = findInstallLocation()
  const output = await run(sandboxd, [
    ...['--probe', '--environments', homePaths(settings).environments],
    ...['--runtime', settings.sandboxRuntime],
  ]).then(
    ({ stdout }) => stdout,
    (error: { stdout?: string; message: string }) => error.stdout || JSON.stringify(unusable(error.message)),
  )
  const parsed = probeSchema.safeParse(JSON.parse(output))
  return parsed.success
    ? parsed.data
    : probeSchema.parse(unusable('sandboxd gave no usable answer', `run ${sandboxd} --probe and report what it prints`))
}

function unusable(detail: string, remedy = 'run bin/setup') {
  return { missing: [{ capability: 'sandboxd', detail, remedy }] }
}
