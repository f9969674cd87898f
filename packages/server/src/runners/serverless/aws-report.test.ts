import { expect, it } from 'vitest'
import { readReport } from './aws-report.ts'

const REPORT =
  'REPORT RequestId: 8f5\tDuration: 5.13 ms\tBilled Duration: 6 ms\tMemory Size: 256 MB\tMax Memory Used: 71 MB\t\n'

it('reads what Lambda billed from the end of a log', () => {
  const log = `START RequestId: 8f5 Version: 3\nREPORT RequestId: x\tDuration: 1 ms\tBilled Duration: 999999 ms\tMemory Size: 1 MB\nEND\n${REPORT}`
  expect(readReport(log)).toEqual({ durationMs: 6, memoryMb: 256, peakMemoryMb: 71 })
})

it.each([null, '', 'hello', 'REPORT RequestId: 8f5 Billed Duration: 6', `x${REPORT}`])('finds none in %j', (log) => {
  expect(readReport(log)).toBeNull()
})
