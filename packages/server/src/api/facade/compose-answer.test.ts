import type { Failure, JobView } from '@ergon/contract'
import { describe, expect, it } from 'vitest'
import { composeAnswer, cutText } from './compose-answer.ts'

const ID = 'aaaaaaaa-0000-4000-8000-000000000001'

function job(change: Partial<JobView>): JobView {
  const outputs = { result_json: null, stdout: 'out', stderr: '' }
  const base = { job_id: ID, status: 'SUCCEEDED', duration_ms: 12, outputs, artifacts: [], ...change }
  return base as unknown as JobView
}

function failed(change: Partial<Failure>, stderr = ''): JobView {
  const error: Failure = {
    category: 'USER_CODE_ERROR',
    code: 'PYTHON_EXCEPTION',
    message: 'why',
    evidence: null,
    details: null,
    ...change,
  }
  return job({ status: 'FAILED', error, outputs: { result_json: null, stdout: 'out', stderr } })
}

function artifact(name: string, format = 'png', sizeBytes = 1) {
  return {
    artifact_id: ID,
    kind: 'plot' as const,
    format,
    digest: `sha256:${'0'.repeat(64)}`,
    size_bytes: sizeBytes,
    uri: '',
    content_type: 'text/x-not-told',
    metadata: { name, width: null, height: null },
  }
}

describe('composeAnswer', () => {
  it('tells of a success', () => {
    const { httpStatus, body } = composeAnswer(job({}))
    expect(httpStatus).toBe(200)
    expect(body).toEqual({
      executionId: ID,
      status: 'success',
      stdout: 'out',
      stderr: '',
      exitCode: 0,
      durationMs: 12,
      errorCategory: null,
    })
  })

  const details = { traceback: null, line: null, column: null }
  it.each([
    ['an exception', { details }, 1],
    ['an exit', { code: 'NON_ZERO_EXIT', details: { ...details, exit_code: 3 } }, 3],
    ['a signal', { code: 'KILLED_BY_SIGNAL' }, null],
    ['a limit', { category: 'RESOURCE_LIMIT', code: 'WALL_TIME' }, null],
    ['a violation', { category: 'SANDBOX_VIOLATION', code: 'SYSCALL_DENIED', details }, 1],
    ['a missing module', { category: 'DEPENDENCY_ERROR', code: 'MODULE_NOT_FOUND', details }, 1],
  ] as const)('has %s as an answer like any other', (_what, failure, exitCode) => {
    const { httpStatus, body } = composeAnswer(failed(failure, 'said'))
    const errorCategory = 'category' in failure ? failure.category : 'USER_CODE_ERROR'
    expect({ httpStatus, ...body }).toMatchObject({ httpStatus: 200, status: 'error', exitCode, errorCategory })
    expect(body.stderr).toBe('said')
  })

  it('gives the verdict’s words where the program has none', () => {
    expect(composeAnswer(failed({})).body.stderr).toBe('why')
  })

  it.each([
    [503, { category: 'INTERNAL_ERROR', code: 'SANDBOX_RUNTIME_FAILED' }],
    [503, { category: 'INTERNAL_ERROR', code: 'STORAGE_FULL' }],
    [500, { category: 'INTERNAL_ERROR', code: 'SANDBOX_LOST' }],
    [500, { category: 'INTERNAL_ERROR', code: 'WORKER_LOST' }],
    [503, { category: 'VALIDATION_ERROR', code: 'ENVIRONMENT_NOT_FOUND' }],
  ] as const)('answers %i to a fault that is ours, and keeps its message to itself: %j', (status, failure) => {
    const { httpStatus, body } = composeAnswer(failed({ ...failure, message: 'in /var/lib/secret' }))
    expect(httpStatus).toBe(status)
    expect(body).toMatchObject({ executionId: ID, status: 'error', stdout: '', errorCategory: 'INTERNAL_ERROR' })
    expect(body.stderr).toContain(failure.code)
    expect(body.stderr).not.toContain('secret')
  })

  it('answers 500 for a job that somebody cancelled', () => {
    expect(composeAnswer(job({ status: 'CANCELLED' })).httpStatus).toBe(500)
  })

  it('shows the first twenty files by name, as Python sorts, with the types that its clients know', () => {
    const names = [
      '\u{1F600}.png',
      '\uFFFD.png',
      'B.png',
      'a.png',
      ...Array.from({ length: 17 }, (_, at) => `c${at + 10}`),
    ]
    const { artifacts } = composeAnswer(job({ artifacts: names.map((name) => artifact(name)) }))
    const shown = artifacts.map(({ shown: { filename } }) => filename)
    expect(shown).toHaveLength(20)
    expect(shown.slice(0, 3)).toEqual(['B.png', 'a.png', 'c10'])
    expect(shown.at(-1)).toBe('\uFFFD.png')
  })

  it.each([
    ['jpeg', 'image', 'image/jpeg'],
    ['svg', 'image', 'image/svg+xml'],
    ['csv', 'text', 'text/csv'],
    ['json', 'json', 'application/json'],
    ['pdf', 'data', 'application/octet-stream'],
    ['html', 'data', 'application/octet-stream'],
    ['binary', 'data', 'application/octet-stream'],
  ])('has %s as %s', (format, type, mimeType) => {
    const { artifacts } = composeAnswer(job({ artifacts: [artifact('f', format)] }))
    expect(artifacts[0]?.shown).toMatchObject({ type, mimeType })
  })

  it('sends the bytes of a file along up to 8 MiB', () => {
    const most = 8 * 1024 * 1024
    const { artifacts } = composeAnswer(
      job({ artifacts: [artifact('a', 'png', most), artifact('b', 'png', most + 1)] }),
    )
    expect(artifacts.map(({ inlineDigest }) => inlineDigest !== null)).toEqual([true, false])
  })
})

describe('cutText', () => {
  it.each([
    ['x'.repeat(5), 'x'.repeat(5)],
    ['x'.repeat(6), `${'x'.repeat(5)}\n…[truncated, 1 more chars]`],
    ['\u{1F600}'.repeat(5), '\u{1F600}'.repeat(5)],
    ['\u{1F600}'.repeat(8), `${'\u{1F600}'.repeat(5)}\n…[truncated, 3 more chars]`],
    [`x${'\u{1F600}'.repeat(6)}`, `x${'\u{1F600}'.repeat(4)}\n…[truncated, 2 more chars]`],
  ])('counts characters, not units: %j', (text, cut) => {
    expect(cutText(text, 5)).toBe(cut)
  })
})
