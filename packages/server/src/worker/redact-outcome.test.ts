import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Redactor } from '../platform/text/redact.ts'
import type { ProducedArtifact, RunnerOutcome } from '../runners/runner.ts'
import { redactError, redactOutcome } from './redact-outcome.ts'

const SECRET = 'hunter2-hunter2'
const redactor = new Redactor()
redactor.add([SECRET])

let folder: string
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'redact-'))))
afterEach(() => rmSync(folder, { recursive: true }))

function artifact(name: string, text: string): ProducedArtifact {
  const file = path.join(folder, String(text.length))
  writeFileSync(file, text)
  return {
    name,
    kind: 'dataset',
    format: 'json',
    contentType: 'application/json',
    width: null,
    height: null,
    file: { path: file, digest: '', sizeBytes: text.length, head: Buffer.alloc(0), isText: true },
  }
}

function outcomeWith(change: Partial<RunnerOutcome>): RunnerOutcome {
  return {
    verdict: { kind: 'succeeded' },
    composeOutput: () => null,
    artifacts: [],
    resourceUsage: null,
    envVersion: null,
    logs: [],
    ...change,
  }
}

it('leaves a secret in no part of an outcome', async () => {
  const redacted = await redactOutcome(
    outcomeWith({
      verdict: {
        kind: 'failed',
        failure: {
          category: 'USER_CODE_ERROR',
          code: 'X',
          message: `bad ${SECRET}`,
          evidence: null,
          details: { traceback: `at ${SECRET}`, line: 1, column: null },
        },
      },
      composeOutput: ({ stdout }) => JSON.stringify({ [SECRET]: [SECRET, stdout] }),
      artifacts: [artifact(`${SECRET}.json`, '{}'), artifact('long.json', `${'x'.repeat(65_530)}${SECRET}`)],
      logs: [{ level: 'info', message: SECRET }],
    }),
    redactor,
  )
  const { artifacts, ...rest } = redacted
  expect(JSON.stringify(rest) + redacted.composeOutput({ stdout: SECRET, stderr: '', artifacts: [] })).not.toContain(
    'hunter2',
  )
  expect(artifacts.map(({ name }) => name)).toEqual(['[redacted].json'])
  expect(redacted.logs.at(-1)).toEqual({
    level: 'warn',
    message: 'the file "long.json" holds a secret and was not stored',
  })
})

it('leaves an outcome without secrets as it is', async () => {
  const outcome = outcomeWith({ artifacts: [artifact('a.json', SECRET)] })
  expect(await redactOutcome(outcome, new Redactor())).toBe(outcome)
})

it('logs no property of an error but its words', () => {
  const error = Object.assign(new Error(`no ${SECRET}`, { cause: SECRET }), { headers: { authorization: SECRET } })
  expect(JSON.stringify(redactError(error, redactor))).not.toContain('hunter2')
})

it('hides the beginning of a secret where what is quoted was cut off', async () => {
  const cut = `the server said ${SECRET.slice(0, -1)}`
  const failure = {
    category: 'USER_CODE_ERROR',
    code: 'X',
    message: cut,
    evidence: null,
    details: { traceback: cut, line: null, column: null },
  } as const
  const { verdict, logs } = await redactOutcome(
    outcomeWith({ verdict: { kind: 'failed', failure }, logs: [{ level: 'info', message: cut }] }),
    redactor,
  )
  const hidden = 'the server said [redacted]'
  expect(verdict).toMatchObject({ failure: { message: hidden, details: { traceback: hidden } } })
  expect(logs).toEqual([{ level: 'info', message: hidden }])
})
