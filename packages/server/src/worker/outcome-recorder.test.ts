import type { Failure } from '@ergon/contract'
import { describe, expect, it } from 'vitest'
import type { Database } from '../platform/db/database.ts'
import { createLogger } from '../platform/logger.ts'
import { Attempt } from './attempt.ts'
import { createOutcomeRecorder, type RecordedResult } from './outcome-recorder.ts'

/** Refuses what PostgreSQL's jsonb refuses, and remembers what it was given. */
class StrictDatabase implements Database {
  readonly statements: (readonly unknown[])[] = []

  async query(_text: string, values: readonly unknown[] = []) {
    this.statements.push(values)
    if (values.some((value) => typeof value === 'string' && /\\u0000|\\ud[89a-f]|\0/i.test(value)))
      throw Object.assign(new Error('unsupported Unicode escape sequence'), { code: '22P05' })
    return { rows: [{ outcome: 'failed' }], rowCount: 1 }
  }

  get recordedFailure(): Failure {
    return JSON.parse(String(this.statements.at(-1)?.[2]))
  }
}

const author = { id: 'w', name: 'machine', version: '1' }
const result: RecordedResult = {
  outputJson: null,
  stdout: '',
  stderr: '',
  artifacts: [],
  resourceUsage: null,
  envVersion: null,
  logs: [],
  audit: null,
}

function failure(message: string): Failure {
  const details = { traceback: `Traceback\n\t${message}`, line: 1, column: null }
  return { category: 'USER_CODE_ERROR', code: 'PYTHON_EXCEPTION', message, evidence: null, details }
}

function recordFailure(db: Database, given: Failure, outputJson: string | null): Promise<void> {
  const job = { id: 'a', fence: 'b', attempt: 1, inputJson: null, securityContextJson: null } as Attempt['job']
  const attempt = new Attempt(job, '/nowhere', async () => true)
  return createOutcomeRecorder(db, createLogger('test', 'silent'), () => author).fail(attempt, given, null, {
    ...result,
    outputJson,
  })
}

describe('createOutcomeRecorder', () => {
  it("writes an exception's text that PostgreSQL cannot hold and a terminal must not see", async () => {
    const db = new StrictDatabase()
    await recordFailure(db, failure('a\u0000b\ud800\u001b[2J'), null)
    expect(db.recordedFailure).toMatchObject({
      category: 'USER_CODE_ERROR',
      message: 'a␀b\uFFFD␛[2J',
      details: { traceback: 'Traceback\n\ta␀b\uFFFD␛[2J', line: 1 },
    })
  })

  it('records a failure without the result that cannot be stored', async () => {
    const db = new StrictDatabase()
    await recordFailure(db, failure('boom'), '{"result_json":{"a":"\\u0000","a":1}}')
    expect(db.recordedFailure.message).toBe('boom')
    expect(db.statements.at(-1)?.[5]).toBeNull()
  })

  it('does not try for ever to write what can never be written', async () => {
    const db = new StrictDatabase()
    await expect(recordFailure(db, { ...failure('boom'), code: 'A\u0000' }, null)).rejects.toThrow('unsupported')
  })
})

describe('announce', () => {
  const attemptOf = (id: string) => {
    const job = { id, fence: 'b', attempt: 1, inputJson: null, securityContextJson: null } as Attempt['job']
    return new Attempt(job, '/nowhere', async () => true)
  }

  it('enters jobs that were claimed together in one statement', async () => {
    const db = new StrictDatabase()
    const recorder = createOutcomeRecorder(db, createLogger('test', 'silent'), () => author)
    await Promise.all(['a', 'b', 'c'].map((id) => recorder.announce(attemptOf(id))))
    expect(db.statements).toHaveLength(1)
    const [ids, entries] = db.statements[0] as [string[], string[]]
    expect(ids).toEqual(['a', 'b', 'c'])
    expect(entries.map((entry) => JSON.parse(entry))).toMatchObject(
      ['a', 'b', 'c'].map((id) => ({ event: 'allowed', job: { id } })),
    )
  })

  it('lets none of them run when it cannot be written', async () => {
    const db: Database = { query: () => Promise.reject(new Error('away')) }
    const recorder = createOutcomeRecorder(db, createLogger('test', 'silent'), () => author)
    const ended = await Promise.allSettled(['a', 'b'].map((id) => recorder.announce(attemptOf(id))))
    expect(ended.map((each) => each.status === 'rejected' && each.reason.code)).toEqual([
      'AUDIT_UNWRITABLE',
      'AUDIT_UNWRITABLE',
    ])
  })
})
