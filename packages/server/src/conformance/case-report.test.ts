import type { JobResult } from '@ergon/contract'
import { describe, expect, test } from 'vitest'
import { judgeCase } from './case-report.ts'
import type { Gap, HostileCase } from './hostile-case.ts'

const CASE: HostileCase = { row: 1, name: 'x', program: '', verdicts: ['RESOURCE_LIMIT/PIDS'], counter: 'pids' }
const GAP: Gap = {
  ...CASE,
  verdicts: ['USER_CODE_ERROR/PYTHON_EXCEPTION'],
  counter: null,
  owed: 'SANDBOX_VIOLATION',
  reason: 'nothing counts it',
}

function ended(verdict: string, counter: string | null = null, observed: number | null = 1): JobResult {
  const [category = '', code = ''] = verdict.split('/')
  const evidence = counter === null ? null : { counter, limit: 0, observed }
  const error = { category, code, message: 'a message', evidence, details: null }
  return { status: category === 'SUCCEEDED' ? category : 'FAILED', ...(code === '' ? {} : { error }) } as JobResult
}

describe('a case', () => {
  test('is met by its verdict with its evidence', () => {
    const report = judgeCase(CASE, ended('RESOURCE_LIMIT/PIDS', 'pids'), [])
    expect(report).toMatchObject({ outcome: 'met', verdict: 'RESOURCE_LIMIT/PIDS', problems: [] })
  })

  test.each([
    ['another verdict', ended('SUCCEEDED'), [], 'it ended as SUCCEEDED: no error'],
    ['no evidence', ended('RESOURCE_LIMIT/PIDS'), [], 'its evidence is none instead of pids'],
    ['other evidence', ended('RESOURCE_LIMIT/PIDS', 'cpu_ms'), [], 'its evidence is cpu_ms instead of pids'],
    ['a counter that stands still', ended('RESOURCE_LIMIT/PIDS', 'pids', 0), [], 'pids shows no such thing'],
    ['no end', null, [], 'it did not end'],
    ['harm', ended('RESOURCE_LIMIT/PIDS', 'pids'), ['a mount is left'], 'a mount is left'],
  ])('fails by %s', (_name, result, harm, problem) => {
    const report = judgeCase(CASE, result, harm)
    expect(report.outcome).toBe('failed')
    expect(report.problems).toEqual([expect.stringContaining(problem)])
  })

  test('fails by its own check', () => {
    const hostile = { ...CASE, check: () => 'it saw the host' }
    expect(judgeCase(hostile, ended('RESOURCE_LIMIT/PIDS', 'pids'), []).problems).toEqual(['it saw the host'])
  })
})

describe('a gap', () => {
  test('is one as long as it ends as listed', () => {
    const report = judgeCase(GAP, ended('USER_CODE_ERROR/PYTHON_EXCEPTION'), [])
    expect(report).toMatchObject({ outcome: 'gap', owed: ['SANDBOX_VIOLATION'], reason: 'nothing counts it' })
  })

  test('is met when this host closes it', () => {
    const report = judgeCase(GAP, ended('SANDBOX_VIOLATION/SYSCALL_DENIED', 'denied_syscalls'), [])
    expect(report).toMatchObject({ outcome: 'met', reason: null })
  })

  test.each([
    ['any other end', ended('SUCCEEDED'), []],
    ['harm', ended('USER_CODE_ERROR/PYTHON_EXCEPTION'), ['a process is left']],
    ['no end', null, []],
  ])('fails by %s', (_name, result, harm) => {
    expect(judgeCase(GAP, result, harm).outcome).toBe('failed')
  })
})
