import type { Artifact, Failure } from '@ergon/contract'
import { describe, expect, it } from 'vitest'
import type { ClaimedJob } from '../queue/types.ts'
import { createServices } from '../registry/create-services.ts'
import { Attempt } from './attempt.ts'
import { composeAuditEntry } from './audit-entry.ts'
import type { RecordedResult } from './outcome-recorder.ts'

const SECRET = 'sk_live_4711_hunter2'
const author = { id: 'w', name: 'machine-1', version: '1' }
const failure: Failure = {
  category: 'RESOURCE_LIMIT',
  code: 'MEMORY',
  message: 'the words of the program',
  evidence: { counter: 'memory_bytes', limit: 1, observed: 2 },
  details: { traceback: 'more words', line: 1, column: null },
}

function attemptOf(change: Partial<ClaimedJob> = {}, policy = ''): Attempt {
  const job = {
    id: '6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10',
    attempt: 2,
    maxAttempts: 3,
    lane: 'http',
    serviceName: 'PAY',
    operation: 'charge',
    executionType: 'http',
    inputJson: '{"card": 1}',
    securityContextJson: null,
    tenantId: 'tenant',
    triggeredBy: 'user',
    correlationId: 'request',
    timeoutSeconds: 900,
    ...change,
  } as ClaimedJob
  const attempt = new Attempt(job, '/nowhere', () => Promise.resolve(true))
  const text = `services:
  - name: Pay
    type: payment
    category: tests
    operations: [{name: charge, timeout: 20, max_retries: 0}]
    runner_config: {base_url: "https://bank.example.org", headers: {x-key: "\${KEY}"}}
    security_policy: {${policy}}
`
  const services = createServices(
    { file: 'r.yaml', text, profile: 'production', variables: { KEY: SECRET }, secretFiles: {}, scripts: {} },
    { executionTypes: ['http'], checkConfig: () => {} },
  )
  attempt.resolved = services.resolve('pay', 'charge')
  if (attempt.resolved.secrets !== null) attempt.redactor.use(attempt.resolved.secrets.redacted)
  return attempt
}

function resultOf(change: Partial<RecordedResult> = {}): RecordedResult {
  return {
    outputJson: '{"a": 1}',
    stdout: 'printed',
    stderr: '',
    artifacts: [],
    resourceUsage: null,
    envVersion: null,
    logs: [],
    audit: { connected_to: ['10.1.2.3'] },
    ...change,
  }
}

const compose = (attempt: Attempt, given: Failure | null, result = resultOf()) =>
  composeAuditEntry('ended', attempt, author, { failure: given, result })

describe('composeAuditEntry', () => {
  it('says who, what was allowed and what happened', () => {
    expect(JSON.parse(compose(attemptOf(), failure))).toMatchObject({
      format: 'ergon-audit/1',
      event: 'ended',
      job: { attempt: 2, lane: 'http', input_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      who: { tenant_id: 'tenant', triggered_by: 'user', correlation_id: 'request' },
      allowed: {
        service: 'Pay',
        operation: 'charge',
        execution_type: 'http',
        policy_digest: expect.stringMatching(/^sha256:/),
        timeout_seconds: 20,
        max_attempts: 1,
        terms: { domains: ['bank.example.org'] },
        runner: { connected_to: ['10.1.2.3'] },
      },
      happened: { outcome: 'failed', category: 'RESOURCE_LIMIT', code: 'MEMORY', evidence: { observed: 2 } },
      worker: { name: 'machine-1' },
    })
  })

  it('has no input, output, printed text or message, and no secret', () => {
    const attempt = attemptOf({ correlationId: `see ${SECRET}` })
    const entry = compose(attempt, failure, resultOf({ audit: { header: SECRET, [SECRET]: 1 } }))
    for (const text of [SECRET, 'card', '"a"', 'printed', 'words']) expect(entry).not.toContain(text)
    expect(entry).toContain('see [redacted]')
  })

  it('has the same digest for the same policy, whatever the secret, and another one for another policy', () => {
    const digestOf = (policy: string) => attemptOf({}, policy).resolved?.allowed.policyDigest
    expect(digestOf('')).toBe(digestOf(''))
    expect(digestOf('allowed_networks: [10.0.0.0/8]')).not.toBe(digestOf(''))
  })

  it('stays below what the database takes, however much there is to tell', () => {
    const long = (count: number) =>
      Array.from({ length: count }, (_, at) => `"${'d'.repeat(60)}${at}.example.org"`).join()
    const artifacts = Array.from({ length: 900 }, () => ({ digest: `sha256:${'a'.repeat(64)}` }) as Artifact)
    const entry = compose(
      attemptOf({ correlationId: 'x'.repeat(100_000) }, `allowed_domains: [bank.example.org, ${long(900)}]`),
      null,
      resultOf({
        artifacts,
        audit: { list: Array.from({ length: 50 }, () => Array.from({ length: 50 }, () => 'y'.repeat(900))) },
      }),
    )
    expect(Buffer.byteLength(entry)).toBeLessThan(60_000)
    expect(JSON.parse(entry)).toMatchObject({ is_shortened: true, happened: { artifact_count: 900 } })
  })
})
