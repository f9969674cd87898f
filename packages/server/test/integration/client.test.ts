import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ErgonApiError, ErgonClient, ErgonConnectionError } from '@ergon/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createHttpApp } from '../../src/api/http-app.ts'
import { completeJobs } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { createRemoteControl } from '../../src/remote/remote-control.ts'
import { payload, startTestApi, TENANT_A, TENANT_B, type TestApi } from './api-fixture.ts'
import { emptyRecord, scalar, someFailure, startWorker, type TestWorker } from './queue-fixture.ts'

let api: TestApi
let url: string
let worker: TestWorker
let client: ErgonClient
beforeAll(async () => {
  api = await startTestApi()
  url = await api.app.listen({ host: '127.0.0.1', port: 0 })
  worker = await startWorker(api.db.as('ergon_worker'), { lanes: ['sandbox', 'http'] })
  client = new ErgonClient({ url, token: api.tokens.a })
})
afterAll(() => api.close())

const say = (words = 'hello') => ({ service: 'Echo', operation: 'say', input: { words } })
const countJobs = async () => {
  return Number(await scalar(api.db.admin, 'select count(*) from jobs.tb_job_run'))
}

async function claim(id: string) {
  const job = (await worker.claim(100, ['sandbox', 'http'], ['echo', 'executor'])).find((each) => each.id === id)
  if (job === undefined) throw new Error(`${id} was not claimed`)
  return job
}

describe('submitting', () => {
  it('gives the job, of a payload and of a call', async () => {
    const one = payload()
    expect(await client.submit(one)).toMatchObject({ job_id: one.job_id, state: 'pending', tenant_id: TENANT_A })
    expect(await client.submit(say())).toMatchObject({ service: 'Echo', operation: 'say', status: 'QUEUED' })
    const batch = await client.submitBatch([say('a'), payload(), say('b')])
    expect(batch.map(({ service }) => service)).toEqual(['Echo', 'executor', 'Echo'])
  })

  it('makes one job where the answer to the first try was lost', async () => {
    const before = await countJobs()
    let tries = 0
    const forgetful = new ErgonClient({
      url,
      token: api.tokens.a,
      async fetch(address, init) {
        const response = await fetch(address, init)
        tries++
        if (tries > 1) return response
        // The request was done, and nobody heard of it.
        await response.arrayBuffer()
        throw new TypeError('terminated')
      },
    })
    const job = await forgetful.submit(say('once'))
    expect({ tries, more: (await countJobs()) - before }).toEqual({ tries: 2, more: 1 })
    expect(await client.get(job.job_id)).toMatchObject({ job_id: job.job_id })
  })

  it('waits as long as the API says where it asks too often', async () => {
    const slept: number[] = []
    const clock = {
      now: () => Date.now(),
      random: () => 0,
      sleep: (ms: number) => Promise.resolve(void slept.push(ms)),
    }
    const token = await api.token(['read'], TENANT_A, 1)
    const hasty = new ErgonClient({ url, token, retries: 1 }, clock)
    await hasty.page()
    await expect(hasty.page()).rejects.toMatchObject({ status: 429, code: 'RATE_LIMITED' })
    expect(slept).toHaveLength(1)
    expect(slept[0]).toBeGreaterThan(1_000)
  })
})

describe('refusals', () => {
  it('say what is wrong and where', async () => {
    const wrong: unknown = await client.submit({ ...say(), extra: 1 } as never).catch((error: unknown) => error)
    expect(wrong).toBeInstanceOf(ErgonApiError)
    expect(wrong).toMatchObject({
      status: 422,
      code: 'REQUEST_INVALID',
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect((wrong as ErgonApiError).errors.length).toBeGreaterThan(0)
  })

  it.each([
    ['another tenant’s job', async () => new ErgonClient({ url, token: api.tokens.b }), 404, 'JOB_NOT_FOUND'],
    [
      'no scope for it',
      async () => new ErgonClient({ url, token: await api.token(['submit'], TENANT_A) }),
      403,
      'SCOPE_MISSING',
    ],
    ['no such token', async () => new ErgonClient({ url, token: 'ergon_x' }), 401, 'TOKEN_INVALID'],
  ])('%s', async (_what, make, status, code) => {
    const { job_id: id } = await client.submit(say())
    await expect((await make()).get(id)).rejects.toMatchObject({ status, code })
  })

  it('nobody at the address', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const lost = new ErgonClient({ url: `http://127.0.0.1:${port}`, token: api.tokens.a, retries: 0 })
    await expect(lost.page()).rejects.toThrow(ErgonConnectionError)
    await expect(lost.page()).rejects.toThrow(/ECONNREFUSED/)
  })
})

describe('jobs', () => {
  it('are listed over any number of pages, each once', async () => {
    const made = await client.submitBatch(Array.from({ length: 7 }, () => ({ ...say(), correlation_id: 'pages' })))
    const listed: string[] = []
    for await (const { job_id: id } of client.list({ correlation_id: 'pages' }, { pageSize: 3 })) listed.push(id)
    expect(listed.toSorted()).toEqual(made.map(({ job_id: id }) => id).toSorted())
  })

  it('are cancelled, and tried again where they failed', async () => {
    const { job_id: id } = await client.submit(say())
    expect(await client.cancel(id)).toMatchObject({ state: 'cancelled' })
    expect(await client.cancel(id)).toMatchObject({ state: 'cancelled' })
    const failed = payload()
    await client.submit(failed)
    await expect(client.retry(failed.job_id)).rejects.toMatchObject({ code: 'JOB_NOT_FAILED' })
    await failJob(api.db.as('ergon_worker'), {
      ...(await claim(failed.job_id)),
      ...emptyRecord,
      failure: someFailure,
      retryDelayMs: null,
      deadLetterReason: 'never again',
    })
    expect(await client.get(failed.job_id)).toMatchObject({ state: 'failed' })
    expect(await client.retry(failed.job_id)).toMatchObject({ state: 'pending' })
  })

  it('are waited for, also by an API that starts again meanwhile', async () => {
    const first = await createHttpApp(api.context)
    const address = await first.listen({ host: '127.0.0.1', port: 0 })
    const body = payload()
    const asked: number[] = []
    const patient = new ErgonClient({
      url: address,
      token: api.tokens.a,
      fetch: (target, init) => {
        asked.push(Date.now())
        return fetch(target, init)
      },
    })
    await patient.submit(body)
    const waited = patient.wait(body.job_id)
    while (asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    first.server.closeAllConnections()
    await first.close()
    while (asked.length < 4) await new Promise((resolve) => setTimeout(resolve, 5))
    const second = await createHttpApp(api.context)
    await second.listen({ host: '127.0.0.1', port: Number(new URL(address).port) })
    const claimed = await claim(body.job_id)
    await completeJobs(api.db.as('ergon_worker'), [{ ...claimed, ...emptyRecord, outputJson: 'null' }])
    expect(await waited).toMatchObject({ job_id: body.job_id, state: 'completed' })
    await second.close()
  })

  it('are no longer waited for once the signal says so', async () => {
    const { job_id: id } = await client.submit(say())
    const stop = new AbortController()
    const waited = client.wait(id, { signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(waited).rejects.toThrow('enough')
  })
})

describe('the command line’s view of a server', () => {
  it('finds jobs by id and by identifier, and says what became of its wishes', async () => {
    const control = createRemoteControl(client)
    const body = payload()
    expect(await control.submitPayload(body)).toBe(body.job_id)
    expect(await control.findJobId(body.job_id)).toBe(body.job_id)
    expect(await control.findJobId(`executor_${body.job_id}`)).toBe(body.job_id)
    expect(await control.findJobId('nobody')).toBeNull()
    expect(await control.findJobId(TENANT_B)).toBeNull()
    expect(await control.readJob(TENANT_B)).toBeNull()
    const envelope = await control.readJob(body.job_id)
    expect(envelope).toMatchObject({ job_id: body.job_id, status: 'QUEUED' })
    expect(envelope).not.toHaveProperty('identifier')
    expect(await control.retryJob(body.job_id)).toBe('not_failed')
    expect(await control.cancelJob(body.job_id)).toBe('cancelled')
    expect(await control.cancelJob(TENANT_B)).toBe('not_found')
    expect((await control.listJobs({ status: 'cancelled', limit: 1 }))[0]).toMatchObject({ id: body.job_id })
    await expect(control.submitPayload({ ...body, job_type: 'object_render' })).rejects.toMatchObject({
      name: 'ErgonError',
      code: 'JOB_EXISTS',
    })
  })
})

describe('a stream over real connections', () => {
  /** Sends what is left of the script from the id that it is asked to go on behind, and cuts each connection at another place. */
  const serve = async (): Promise<{ server: Server; asked: (string | undefined)[] }> => {
    const asked: (string | undefined)[] = []
    const lines = Array.from({ length: 60 }, (_, n) =>
      n === 59
        ? `event: end\nid: ${n}\ndata: {"state":"completed"}\n\n`
        : `event: stdout\nid: ${n}\ndata: ${JSON.stringify({ attempt: 1, offset: n * 5, text: `é${n % 10}é` })}\n\n`,
    )
    const server = createServer((request, response) => {
      const last = request.headers['last-event-id']
      asked.push(typeof last === 'string' ? last : undefined)
      const rest = Buffer.from(lines.slice(last === undefined ? 0 : Number(last) + 1).join(''))
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      // In the middle of an event, of a line, of a character.
      const cut = 400 + 37 * asked.length
      if (rest.length <= cut) return void response.end(rest)
      response.write(rest.subarray(0, cut), () => request.socket.destroy())
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    return { server, asked }
  }

  it('tells each event once, wherever the connection breaks', async () => {
    const { server, asked } = await serve()
    const { port } = server.address() as AddressInfo
    const clock = { now: () => Date.now(), random: () => 0, sleep: () => Promise.resolve() }
    const streaming = new ErgonClient({ url: `http://127.0.0.1:${port}`, token: 't' }, clock)
    const ids: string[] = []
    for await (const { id } of streaming.stream('job')) ids.push(id)
    expect(ids).toEqual(Array.from({ length: 60 }, (_, n) => String(n)))
    expect(asked.length).toBeGreaterThan(4)
    await new Promise((resolve) => server.close(resolve))
  })
})
