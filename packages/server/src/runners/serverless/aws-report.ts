import type { BilledUsage } from './provider.ts'

/**
 * What Lambda billed, from the line it ends a log with; null without one. The function can print such a line too, so
 * the last one counts, and it only ever feeds an estimate.
 */
export function readReport(logTail: string | null): BilledUsage | null {
  const reports = [
    ...(logTail ?? '').matchAll(
      /^REPORT RequestId: \S+\s.*?Billed Duration: (\d{1,9}) ms\s+Memory Size: (\d{1,6}) MB(?:\s+Max Memory Used: (\d{1,6}) MB)?/gm,
    ),
  ]
  const [, durationMs, memoryMb, peakMemoryMb] = reports.at(-1) ?? []
  if (durationMs === undefined || memoryMb === undefined) return null
  return {
    durationMs: Number(durationMs),
    memoryMb: Number(memoryMb),
    peakMemoryMb: peakMemoryMb === undefined ? null : Number(peakMemoryMb),
  }
}
