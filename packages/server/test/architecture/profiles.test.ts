import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { workerProcessConfigSchema } from '../../src/app/worker-process-config.ts'
import { loadSettings } from '../../src/config/load-settings.ts'
import { executorPolicyOf, PROFILES } from '../../src/domain/profiles.ts'
import type { Sandbox } from '../../src/sandbox/sandbox.ts'
import { createPythonAdapter } from '../../src/runners/sandboxed/python.ts'
import { readPayload } from '../../src/runners/sandboxed/read-payload.ts'
import { importsOf } from './imports-of.ts'
import { listSources } from './source-tree.ts'

const root = path.join(import.meta.dirname, '../../src')

test('nothing that runs jobs or makes sandboxes knows profiles', async () => {
  const users: string[] = []
  for (const file of await listSources(root)) {
    if (file.endsWith('.test.ts')) continue
    const targets = importsOf(await readFile(path.join(root, file), 'utf8'))
    if (targets.some((target) => target.endsWith('/profiles.ts'))) users.push(file)
  }
  expect(users).toEqual([
    'app/doctor.ts',
    'app/facade-rules.ts',
    'app/find-signing-key.ts',
    'app/local-stack.ts',
    'cli/commands/worker.ts',
    'config/load-settings.ts',
    'config/settings.ts',
    'registry/parse-registry.ts',
    'registry/security/judge-risks.ts',
  ])
  // The registry's section is chosen by name; a worker is told of no other.
  expect(Object.keys(workerProcessConfigSchema.shape).filter((key) => /profile/i.test(key))).toEqual([])
})

test('settings of the profiles differ in the log level alone', () => {
  const env = { DATABASE_URL: 'postgresql://h/d', ERGON_HOME: '/h', ERGON_CACHE: '/c' }
  const settings = PROFILES.map((profile) => {
    const { settings: all } = loadSettings({ ...env, ERGON_PROFILE: profile })
    return { ...all, profile: null, logLevel: null }
  })
  expect(settings).toEqual([settings[0], settings[0], settings[0]])
})

test('the same job asks for the same sandbox in each', () => {
  const adapter = createPythonAdapter({} as Sandbox, 'crun', 100)
  const payloadJson = `{"schema_version":"1.0","job_id":"6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10","job_type":"object_execute",
    "environment":{"language":"python","env_version":"python-sci"},"limits":{"memory_mb":256},
    "inputs":{"object":{"type":"code","content":{"format":"text","value":"pass"},"runtime":{"language":"python"}}}}`
  const requests = PROFILES.map((profile) => {
    const policy = executorPolicyOf(profile, null)
    const reading = readPayload(payloadJson, 'object_execute', policy)
    if (!reading.ok) throw new Error(reading.failure.message)
    const { payload, limits, parametersJson } = reading.read
    const inputs = {
      ...{ jobId: payload.job_id, attempt: 1, payload, limits, policy, cpuPercent: null, parametersJson },
      ...{ isolation: payload.environment.isolation, seed: null, envVersion: 'python-sci@1', datasets: [] },
      spoolFolder: '/nowhere',
    }
    const { request } = adapter.prepare(inputs, () => {})
    return { ...request, files: request.files.map((file) => [file.path, file.sizeBytes]) }
  })
  expect(requests[0]).toMatchObject({ workspace: 'read_write', network: { level: 'loopback' } })
  expect(requests).toEqual([requests[0], requests[0], requests[0]])
})
