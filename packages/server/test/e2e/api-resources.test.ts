import { createHash, randomUUID } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import {
  type Artifact,
  type Dataset,
  type JobLogs,
  type JobPayloadInput,
  type JobView,
  type SignedUrl,
} from '@ergon/contract'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findOsUser } from '../../src/platform/process/os-user.ts'
import { ErgonHome } from './ergon.ts'

const home = new ErgonHome({ ERGON_API_LISTEN: '127.0.0.1:0' })
const tenant = randomUUID()
let url = ''
let token = ''

beforeAll(async () => {
  const { line } = await home.start('dev')
  url = (line as { apiUrl: string }).apiUrl
  const options = ['--name', 'test', '--scopes', 'submit,read,artifacts', '--tenant', tenant, '--json']
  const made = await home.run('tokens', 'create', ...options)
  token = (JSON.parse(made.stdout) as { token: string }).token
})
afterAll(() => home.remove())

function call(address: string, init: RequestInit = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${token}`, ...(init.headers as Record<string, string>) }
  return fetch(new URL(address, url), { ...init, headers })
}
const json = async <T>(address: string, init?: RequestInit) => (await (await call(address, init)).json()) as T

test('a dataset goes to a job through the API, and what the job leaves comes back', async () => {
  const bytes = 'year,co2\n2019,411\n2020,414\n'
  const dataset = await json<Dataset>('/v1/datasets?name=co2.csv', { method: 'PUT', body: bytes })
  expect(dataset).toMatchObject({ size_bytes: bytes.length, format: 'csv' })

  const program = `
import os
text = open("/workspace/input/co2.csv").read()
print("read", len(text), "bytes")
open(os.environ["ERGON_OUTPUT_DIR"] + "/copy.csv", "w").write(text.upper())
`
  const payload: JobPayloadInput = {
    schema_version: '1.0',
    job_id: randomUUID(),
    job_type: 'object_execute',
    environment: { language: 'python', env_version: 'python-sci' },
    inputs: {
      object: {
        type: 'code',
        content: { format: 'text', value: program },
        dependencies: [{ kind: 'dataset', digest: dataset.digest, name: 'co2.csv' }],
        runtime: { language: 'python' },
      },
    },
    output_spec: { formats: ['csv'] },
  }
  const init = { method: 'POST', body: JSON.stringify(payload), headers: { 'content-type': 'application/json' } }
  const job = await json<JobView>('/v1/jobs?wait=50', init)
  expect(job).toMatchObject({ status: 'SUCCEEDED', tenant_id: tenant })
  const logs = await json<JobLogs>(`/v1/jobs/${job.job_id}/logs`)
  expect(logs).toMatchObject({ stdout: { text: `read ${bytes.length} bytes\n` }, is_complete: true })

  const { items } = await json<{ items: Artifact[] }>(`/v1/jobs/${job.job_id}/artifacts`)
  expect(items.map(({ metadata }) => metadata.name)).toEqual(['copy.csv'])
  const id = items[0]?.artifact_id ?? ''
  const content = await call(`/v1/artifacts/${id}/content`)
  expect([content.status, await content.text()]).toEqual([200, bytes.toUpperCase()])
  const signed = await json<SignedUrl>(`/v1/artifacts/${id}/signed-url`, { ...init, body: '{}' })
  const open = await fetch(new URL(signed.url, url))
  expect([open.status, await open.text()]).toEqual([200, bytes.toUpperCase()])
})

test("the API's files are its own, read-only, and its spool is empty", async () => {
  const bytes = `of ${tenant}`
  await call('/v1/datasets?name=a.txt', { method: 'PUT', body: bytes })
  const hex = createHash('sha256').update(bytes).digest('hex')
  const file = await stat(path.join(home.paths.artifacts, 'sha256', hex.slice(0, 2), hex))
  const owner = process.getuid?.() === 0 ? findOsUser('ergon-api')?.uid : process.getuid?.()
  expect([file.uid, (file.mode & 0o7777).toString(8)]).toEqual([owner, '444'])
  const [own = ''] = await readdir(home.paths.apiSpool)
  expect(await readdir(path.join(home.paths.apiSpool, own))).toEqual([])
})

test('environments are those of the machine, and the description is served', async () => {
  const { items } = await json<{ items: { name: string }[] }>('/v1/environments')
  expect(items.map(({ name }) => name)).toContain('python-sci')
  expect(await json<{ openapi: string }>('/openapi.json')).toMatchObject({ openapi: '3.1.0' })
})
