import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Failure } from '@ergon/contract'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ArtifactStore } from '../artifacts/artifact-store.ts'
import type { Verdict } from '../domain/decide-outcome.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { createLogger } from '../platform/logger.ts'
import type { ClaimedJob } from '../queue/types.ts'
import { createServices } from '../registry/create-services.ts'
import { createBuiltInServices, type ServiceRegistry } from '../registry/service-registry.ts'
import { RunnerRegistry } from '../runners/runner-registry.ts'
import type { ExecutionContext, RunnerJob, RunnerOutcome } from '../runners/runner.ts'
import { Attempt } from './attempt.ts'
import { executeJob } from './execute-job.ts'
import { StorageGuard } from './storage-guard.ts'

const job: ClaimedJob = {
  id: '6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10',
  fence: '0b7ac1de-3f43-4d5a-b7b2-7a4d4f2e9a11',
  attempt: 1,
  maxAttempts: 3,
  lane: 'sandbox',
  serviceName: 'Executor',
  operation: 'object_execute',
  executionType: 'sandbox',
  inputJson: '{}',
  runnerConfigJson: null,
  tenantId: null,
  triggeredBy: null,
  correlationId: null,
  entityType: null,
  entityPk: null,
  timeoutSeconds: 30,
  deadline: new Date(0),
  securityContextJson: null,
  traceparent: null,
  executionKey: null,
  createdAt: null,
  projectId: null,
  documentId: null,
  documentRevisionId: null,
  targetObjectId: null,
}

/** What was recorded, as words: the one thing these tests look at. */
let recorded: string[]
/** The jobs that reached the runner. */
let started: RunnerJob[]
let spoolRoot: string
let guard: StorageGuard

afterEach(() => rmSync(spoolRoot, { recursive: true }))
beforeEach(() => {
  recorded = []
  started = []
  spoolRoot = mkdtempSync(path.join(tmpdir(), 'execute-job-'))
  guard = new StorageGuard(
    { freeBytes: () => Promise.resolve(Number.MAX_SAFE_INTEGER) } as unknown as ArtifactStore,
    spoolRoot,
  )
})

function outcome(verdict: Verdict): RunnerOutcome {
  return {
    verdict,
    composeOutput: ({ stdout }) => JSON.stringify({ stdout }),
    artifacts: [],
    resourceUsage: null,
    envVersion: null,
    logs: [],
  }
}

function failed(category: Failure['category'], code: string): Verdict {
  return { kind: 'failed', failure: { category, code, message: code, evidence: null, details: null } }
}

async function execute(
  run: (context: ExecutionContext, attempt: Attempt) => Promise<RunnerOutcome>,
  change: Partial<ClaimedJob> = {},
  services: ServiceRegistry = createBuiltInServices(null),
  announced: () => void = () => {},
) {
  const attempt = new Attempt({ ...job, ...change }, spoolRoot, () => Promise.resolve(true))
  const runners = new RunnerRegistry()
  for (const type of ['sandbox', 'http'] as const)
    runners.register(type, {
      displayName: 'Sandbox',
      validateConfig: () => null,
      execute: (runnerJob, _config, context) => {
        started.push(runnerJob)
        return run(context, attempt)
      },
      cancel: () => false,
      getResourceRequirements: () => ({ cpuCores: 1, memoryMb: 1, diskMb: 1 }),
    })
  await executeJob(attempt, {
    services,
    runners,
    store: {} as ArtifactStore,
    storageGuard: guard,
    recorder: {
      complete: (_attempt, { outputJson, logs }) =>
        record(['complete', outputJson, ...logs.map(({ message }) => message)].join(' ')),
      fail: (_attempt, { code }, delayMs) =>
        record(`fail ${code} ${delayMs === null ? 'finally' : `again in ${delayMs}`}`),
      release: () => record('release'),
      announce: ({ resolved }) => record(`announce ${resolved?.allowed.exceptions.join()}`).then(announced),
      stopped: () => record('stopped'),
    },
    pauseClaims: () => void recorded.push('pause'),
    renewSecrets: () => void recorded.push('renew'),
    resolveDatasets: () => Promise.resolve(new Set()),
    logger: createLogger('test', 'silent'),
    random: () => 1,
  })
  return attempt
}

function record(what: string): Promise<void> {
  recorded.push(what)
  return Promise.resolve()
}

describe('executeJob', () => {
  it('records a success with its output, and leaves nothing in the spool', async () => {
    const attempt = await execute(async ({ onOutput, spoolFolder }) => {
      onOutput('stdout', Buffer.from('hi\u001b'))
      mkdirSync(spoolFolder)
      writeFileSync(path.join(spoolFolder, '0'), 'bytes')
      return outcome({ kind: 'succeeded' })
    })
    expect(recorded).toEqual(['complete {"stdout":"hi␛"}'])
    expect(existsSync(attempt.spoolFolder)).toBe(false)
  })

  it.each([
    [failed('USER_CODE_ERROR', 'X'), {}, 'fail X finally'],
    [failed('INTERNAL_ERROR', 'X'), {}, 'fail X again in 1000'],
    [failed('INTERNAL_ERROR', 'X'), { attempt: 3 }, 'fail X finally'],
  ])('records %j of %j as %s', async (verdict, change, expected) => {
    await execute(() => Promise.resolve(outcome(verdict)), change)
    expect(recorded).toEqual([expected])
  })

  it('hands back what was not run, and pauses, or it would claim the same again at once', async () => {
    await execute(() => Promise.resolve(outcome({ kind: 'cancelled' })))
    expect(recorded).toEqual(['pause', 'release'])
  })

  it.each(['cancelled', 'lost'] as const)(
    'writes nothing about an attempt that was %s: late results change nothing',
    async (reason) => {
      await execute((_context, attempt) => {
        attempt.abort(reason)
        return Promise.resolve(outcome({ kind: 'succeeded' }))
      })
      expect(recorded).toEqual(reason === 'cancelled' ? ['stopped'] : [])
    },
  )

  it('hands back what a stopping worker had to end, and keeps what ended by itself', async () => {
    await execute((_context, attempt) => {
      attempt.abort('drained')
      return Promise.resolve(outcome({ kind: 'cancelled' }))
    })
    await execute((_context, attempt) => {
      attempt.abort('drained')
      return Promise.resolve(outcome({ kind: 'succeeded' }))
    })
    expect(recorded).toEqual(['release', 'complete {"stdout":""}'])
  })

  it('turns a fault of ours into a failure that is retried and says nothing of our insides', async () => {
    await execute(() => Promise.reject(new Error('/secret/path')))
    expect(recorded).toEqual(['fail INTERNAL again in 1000'])
  })

  it('stops claiming when there was no room', async () => {
    await execute(() => Promise.reject(new ErgonError('STORAGE_FULL', 'no room')))
    expect(recorded).toEqual(['fail STORAGE_FULL again in 1000'])
    expect(await guard.hasRoom()).toBe(false)
  })

  it('fails a job of a service it does not know', async () => {
    await execute(() => Promise.reject(new Error('never called')), { serviceName: 'stripe' })
    expect(recorded).toEqual(['fail SERVICE_NOT_FOUND finally'])
  })
})

describe('executeJob of a service that a registry declares', () => {
  const services = createServices(
    {
      file: 'r.yaml',
      text: `services:
  - name: Fit
    type: computation
    category: science
    execution_type: sandbox
    operations:
      - name: line
        timeout: 20
        max_retries: 0
        input_schema: {parameters: {degree: integer}}
        output_schema: {stdout: string, result_json: any?}
    runner_config: {environment: e, code: pass}
`,
      profile: 'production',
      variables: {},
      secretFiles: {},
      scripts: {},
    },
    { executionTypes: ['sandbox'], checkConfig: () => {} },
  )
  const fit = { serviceName: 'FIT', operation: 'Line', inputJson: '{"parameters": {"degree": 1}}' }
  const succeed = () => Promise.resolve(outcome({ kind: 'succeeded' }))

  it.each([
    ['{"parameters": {"degree": 1.5}}', 'INPUT_INVALID'],
    ['{"parameters": {"degree": 1, "extra": 2}}', 'INPUT_INVALID'],
    [null, 'INPUT_INVALID'],
    [`{"parameters": ${'['.repeat(5_000)}${']'.repeat(5_000)}}`, 'INPUT_INVALID'],
  ])('runs nothing for the input %j', async (inputJson, code) => {
    await execute(succeed, { ...fit, inputJson }, services)
    expect([recorded, started]).toEqual([[`fail ${code} finally`], []])
  })

  it("bounds time and attempts by the registry's operation, whatever the row asks for", async () => {
    await execute(succeed, { ...fit, timeoutSeconds: 600, maxAttempts: 9 }, services)
    await execute(succeed, { ...fit, timeoutSeconds: 5 }, services)
    expect(started).toMatchObject([{ timeoutSeconds: 20, maxAttempts: 1 }, { timeoutSeconds: 5 }])
    recorded = []
    await execute(() => Promise.resolve(outcome(failed('INTERNAL_ERROR', 'X'))), { ...fit, maxAttempts: 9 }, services)
    expect(recorded).toEqual(['fail X finally'])
  })

  it('obeys nothing that the row says of type and configuration, and tells of it', async () => {
    await execute(succeed, { ...fit, executionType: 'docker', runnerConfigJson: '{"image": "evil"}' }, services)
    expect(started).toHaveLength(1)
    expect(recorded[0]).toContain("the row says execution_type docker; the registry's sandbox of service Fit was used")
    expect(recorded[0]).toContain('another runner_config')
  })

  it('takes a row with the same configuration for what it is, in any order, and one too deep to compare for another', async () => {
    await execute(
      succeed,
      { ...fit, executionType: 'sandbox', runnerConfigJson: '{"environment": "e", "code": "pass"}' },
      services,
    )
    await execute(succeed, { ...fit, runnerConfigJson: '['.repeat(50_000) + ']'.repeat(50_000) }, services)
    expect(recorded).toEqual(['complete {"stdout":""}', expect.stringContaining('another runner_config')])
  })

  it('fails a success whose output breaks the promise of its schema', async () => {
    await execute(
      () => Promise.resolve({ ...outcome({ kind: 'succeeded' }), composeOutput: () => '{"stdout": 1}' }),
      fit,
      services,
    )
    expect(recorded).toEqual(['fail OUTPUT_INVALID finally'])
  })

  it('fails a job of an operation that the service does not have', async () => {
    await execute(succeed, { ...fit, operation: 'curve' }, services)
    expect([recorded, started]).toEqual([['fail OPERATION_NOT_FOUND finally'], []])
  })
})

describe('executeJob of a service with exceptions from its isolation', () => {
  const services = createServices(
    {
      file: 'r.yaml',
      text: `services:
  - name: Mail
    type: notification
    category: tests
    operations: [{name: send, timeout: 20}]
    runner_config: {base_url: "http://10.1.2.3"}
    security_policy: {allowed_networks: [10.1.2.0/24]}
`,
      profile: 'production',
      variables: {},
      secretFiles: {},
      scripts: {},
    },
    { executionTypes: ['http'], checkConfig: () => {} },
  )
  const mail = { serviceName: 'mail', operation: 'send', executionType: 'http' }
  const succeed = () => Promise.resolve(outcome({ kind: 'succeeded' }))

  it('enters them in the audit trail before it runs', async () => {
    const seen: number[] = []
    await execute(succeed, mail, services, () => void seen.push(started.length))
    expect(recorded).toEqual(['announce network 10.1.2.0/24', 'complete {"stdout":""}'])
    expect(seen).toEqual([0])
  })

  it('does not run what cannot be entered', async () => {
    await execute(succeed, mail, services, () => {
      throw new ErgonError('AUDIT_UNWRITABLE', 'no')
    })
    expect(started).toEqual([])
    expect(recorded.at(-1)).toBe('fail AUDIT_UNWRITABLE again in 1000')
  })
})
