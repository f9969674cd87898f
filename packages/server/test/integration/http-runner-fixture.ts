import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { z } from 'zod'
import { createServices } from '../../src/registry/create-services.ts'
import type { LookUp } from '../../src/runners/http/host-resolver.ts'
import { HttpRunner } from '../../src/runners/http/http-runner.ts'
import { HttpTarget } from '../../src/testing/http-target.ts'

export const JOB_ID = '6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10'

/** The server that services are for, and another one that they are not for. */
export const target = new HttpTarget()
export const other = new HttpTarget()

let spoolFolder: string
let calls = 0

/** Both servers for the tests of a file, and a folder for files of each test. */
export function useTargets(): void {
  beforeAll(() => Promise.all([target.start(), other.start()]))
  afterAll(() => Promise.all([target.stop(), other.stop()]))
  beforeEach(() => {
    spoolFolder = mkdtempSync(path.join(tmpdir(), 'http-runner-'))
    target.seen.length = 0
    other.seen.length = 0
  })
  afterEach(() => rmSync(spoolFolder, { recursive: true }))
}

export interface Change {
  config?: string
  policy?: string
  base?: string
  lookUp?: LookUp
  timeoutSeconds?: number
  signal?: AbortSignal
  variables?: Record<string, string>
}

/** A service of a registry, and its runner. */
export function serviceOf({ config = '', policy = '', base = target.origin, lookUp, variables = {} }: Change) {
  const text = `services:
  - name: target
    type: t
    category: t
    operations: [{name: call}]
    runner_config:
      base_url: ${base}
      ${config}
    security_policy:
      allowed_networks: [127.0.0.0/8]
      ${policy}
`
  const bundle = { file: 'r.yaml', text, profile: 'development', variables, secretFiles: {}, scripts: {} } as const
  const runner = new HttpRunner(lookUp === undefined ? {} : { lookUp })
  const services = createServices(bundle, {
    executionTypes: ['http'],
    checkConfig: (_type, checked) => void runner.validateConfig(checked),
  })
  return { runner, client: runner.validateConfig(services.resolve('target', 'call').runnerConfig) }
}

const outputSchema = z.object({
  status_code: z.number(),
  headers: z.record(z.string(), z.unknown()),
  body: z.unknown(),
})

export async function call(input: unknown, change: Change = {}, service = serviceOf(change)) {
  const { runner, client } = service
  const secrets: string[] = []
  const outcome = await runner.execute(
    {
      id: JOB_ID,
      serviceName: 'target',
      operation: 'call',
      inputJson: typeof input === 'string' ? input : JSON.stringify(input),
      timeoutSeconds: change.timeoutSeconds ?? 20,
      attempt: 1,
      maxAttempts: 1,
    },
    client,
    {
      tenantId: null,
      triggeredBy: null,
      correlationId: null,
      securityContextJson: null,
      signal: change.signal ?? new AbortController().signal,
      onOutput: () => {},
      registerSecret: (value) => void secrets.push(value),
      resolveDatasets: () => Promise.resolve(new Set()),
      spoolFolder: path.join(spoolFolder, String(++calls)),
    },
  )
  const json = outcome.composeOutput({ stdout: '', stderr: '', artifacts: [] })
  const { verdict, artifacts, logs, resourceUsage } = outcome
  const failure = verdict.kind === 'failed' ? verdict.failure : null
  return {
    json,
    output: json === null ? null : outputSchema.parse(JSON.parse(json)),
    kind: verdict.kind,
    category: failure?.category,
    code: failure?.code,
    failure,
    artifacts,
    messages: logs.map(({ message }) => message),
    usage: resourceUsage,
    secrets,
  }
}
