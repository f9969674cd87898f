import type { JobResult } from '@ergon/contract'
import type { JobControl } from '../control/job-control.ts'
import { formatBytes, formatMs, paint } from './terminal.ts'

/** A finished job as a person reads it: verdict, cost, result, artifacts, and where the row is. */
export function printResult(result: JobResult, control: Pick<JobControl, 'whereIsArtifact' | 'whereIsJob'>): void {
  const lines: string[] = ['']
  const good = result.status === 'SUCCEEDED'
  const memory = result.resource_usage.memory_mb_peak
  lines.push(
    [
      paint(['bold', good ? 'green' : 'red'], result.status),
      `wall ${formatMs(result.duration_ms)}`,
      `CPU ${formatMs(result.resource_usage.cpu_ms)}`,
      `memory ${memory === null ? '–' : `${memory.toFixed(1)} MB`}`,
    ].join('   '),
  )
  if (result.error !== undefined) {
    const { category, code, message, evidence } = result.error
    lines.push(`${paint('bold', `${category} ${code}`)}: ${message}`)
    if (evidence !== null)
      lines.push(
        `evidence     ${evidence.counter}: limit ${evidence.limit ?? '–'}, observed ${evidence.observed ?? '–'}`,
      )
  }
  if (result.outputs.result_json !== null)
    lines.push('', paint('bold', 'result'), JSON.stringify(result.outputs.result_json, null, 2))
  for (const artifact of result.artifacts) {
    const { metadata, format, size_bytes: size, digest, artifact_id: id } = artifact
    const pixels = metadata.width === null ? '' : `, ${metadata.width} × ${metadata.height}`
    lines.push(
      '',
      `${paint('bold', metadata.name)}  (${format}${pixels}, ${formatBytes(size)})`,
      `  id      ${id}`,
      `  digest  ${digest}`,
      `  ${control.whereIsArtifact(artifact)}`,
    )
  }
  for (const { level, message } of result.logs) lines.push(`${level}: ${message}`)
  lines.push('', `environment  ${result.env_version ?? '–'}`, control.whereIsJob(result.job_id), '')
  process.stdout.write(lines.join('\n'))
}
