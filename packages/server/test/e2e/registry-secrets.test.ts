import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { chmodSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'

/** What the API takes for its token: rotated as a vault would. */
let valid = 'first-token-of-the-vault'
let server: Server
let registry: string
let app: Application
let log = ''

const home = new ErgonHome({ ERGON_LOG_LEVEL: 'info' })
const helper = (body: string) => {
  const file = home.file('helper', `#!/bin/sh\n${body}\n`)
  chmodSync(file, 0o755)
  return file
}

function registryOf(port: number): string {
  return `services:
  - name: mail
    type: notification
    category: tests
    operations: [{name: send, timeout: 20, max_retries: 0}]
    runner_config:
      base_url: "http://127.0.0.1:${port}"
      auth_type: bearer
      auth_config: {token_vault: "exec:mail/token"}
    security_policy: {allowed_networks: [127.0.0.1/32]}
${['warm', 'fresh'].map(spinning).join('')}`
}

function spinning(isolation: string): string {
  return `  - name: spin-${isolation}
    type: computation
    category: tests
    execution_type: sandbox
    operations: [{name: run, timeout: 60, max_retries: 0}]
    runner_config: {environment: python-sci, script: spin.py}
    security_policy: {resource_limits: {cpu_cores: 0.25, memory_mb: 128}, isolation: ${isolation}}
`
}

beforeAll(async () => {
  server = createServer((request, response) => {
    const isKnown = request.headers.authorization === `Bearer ${valid}`
    // A server that repeats what it was sent.
    const said = { authorization: request.headers.authorization }
    response.writeHead(isKnown ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify(said))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  registry = home.file('registry.yaml', registryOf((server.address() as AddressInfo).port))
  home.file('spin.py', 'import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\n')
  home.env['ERGON_SECRET_COMMAND'] = helper(`[ "$1" = mail/token ] && echo "${valid}"`)
  const started = await home.start('dev', '--registry', registry)
  started.child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString('utf8')))
  app = new Application(await home.connect(databaseUrlOf(started.line)))
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await home.remove()
})

async function run(service: string, operation: string, input: object) {
  const id = randomUUID()
  await app.db.query(
    'insert into jobs.tb_job_run (id, identifier, service_name, operation, input_data) values ($1, $2, $3, $4, $5)',
    [id, `test_${id}`, service, operation, input],
  )
  return app.untilEnded(id)
}

test('a changed secret reaches the worker after the first refusal, and no row shows either value', async () => {
  const first = await run('mail', 'send', { path: '/' })
  expect(first).toMatchObject({
    status: 'SUCCEEDED',
    outputs: { result_json: { body: { authorization: 'Bearer [redacted]' } } },
  })
  valid = 'second-token-of-the-vault'
  helper(`echo "${valid}"`)
  const refused = await run('mail', 'send', { path: '/' })
  expect(await app.failureCodes(refused.job_id)).toEqual(['HTTP_STATUS'])
  await app.until(async () => (await run('mail', 'send', { path: '/' })).status === 'SUCCEEDED')
  expect(await tablesWith('-token-of-the-vault')).toEqual([])
  // The search finds what is there.
  expect(await tablesWith('[redacted]')).toEqual(['tb_job_run'])
  expect(log).not.toContain('-token-of-the-vault')
  await app.until(() => Promise.resolve(log.includes('secrets of the service registry have changed')))
  expect(log).not.toContain('the new service registry is not valid')
})

/** Every table of ours that shows a text anywhere. */
async function tablesWith(text: string): Promise<string[]> {
  const tables = await app.db.query(`select relname as name from pg_class
    where relnamespace = 'jobs'::regnamespace and relkind = 'r' order by 1`)
  const found: string[] = []
  for (const { name } of tables.rows as { name: string }[]) {
    const { rowCount } = await app.db.query(
      `select from jobs."${name}" t where strpos(to_jsonb(t)::text, $1) > 0 or strpos(t::text, $1) > 0 limit 1`,
      [text],
    )
    if (rowCount !== 0) found.push(name)
  }
  return found
}

test.each(['warm', 'fresh'])('a %s sandbox has the share of the machine that cpu_cores says', async (isolation) => {
  const { job_id: id } = await run(`spin-${isolation}`, 'run', {})
  const { rows } = await app.db.query(
    `select j.status, (j.resource_usage ->> 'cpu_usage_percent')::float as share from jobs.tb_job_run j where j.id = $1`,
    [id],
  )
  const [{ status, share }] = rows as [{ status: string; share: number }]
  expect(status).toBe('completed')
  // A busy machine gives less, none gives more; the first period may be spent before the limit is seen.
  expect(share).toBeLessThan(40)
})

test('a secret that cannot be had is told by doctor and validate-config, and nothing starts with it', async () => {
  const broken = new ErgonHome({ ERGON_SECRET_COMMAND: home.file('broken', '#!/bin/sh\necho hunter2; exit 7\n') })
  chmodSync(broken.env['ERGON_SECRET_COMMAND'] ?? '', 0o755)
  broken.env['ERGON_REGISTRY'] = registry
  const words = 'the vault secret exec:mail/token cannot be used: the program ended with status 7'
  const [doctor, validate, worker] = await Promise.all([
    broken.run('doctor', '--json'),
    broken.run('validate-config'),
    broken.run('worker', '--lanes', 'http', '--json'),
  ])
  const { findings } = JSON.parse(doctor.stdout) as { findings: { check: string; ok: boolean; detail: string }[] }
  expect(findings).toContainEqual(
    expect.objectContaining({ check: 'registry references', ok: false, detail: expect.stringContaining(words) }),
  )
  expect(validate).toMatchObject({ code: 2, stdout: expect.stringContaining(words) })
  expect(worker).toMatchObject({ code: 2, stdout: expect.stringContaining(words) })
  expect([doctor, validate, worker].map(({ stdout, stderr }) => stdout + stderr).join()).not.toContain('hunter2')
  await broken.remove()
})
