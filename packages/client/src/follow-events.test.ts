import { describe, expect, test } from 'vitest'
import { collect, events, problem, scriptedClient } from './client.fixture.ts'

const ID = '0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f'
const job = (state: string) => ({ job_id: ID, state })
const AWAY = new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') })

describe('a stream', () => {
  const message = (event: string, id: number, data: unknown) =>
    `event: ${event}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`
  const text = (offset: number, value: string) => ({ attempt: 1, offset, text: value })

  test('goes on after each break from the last event that it told', async () => {
    const { client, sent } = scriptedClient([
      events(
        [message('status', 1, job('running')), message('stdout', 2, text(0, 'a')), 'event: stdout\nid: 3\nda'],
        'broken',
      ),
      AWAY,
      new Response('', { status: 502 }),
      events([': still here\n\n']),
      events([
        message('stdout', 3, text(1, 'b')),
        message('end', 4, job('completed')),
        message('stdout', 5, text(2, 'c')),
      ]),
    ])
    const told = await collect(client.stream(ID))
    expect(told.map(({ id, event }) => `${id} ${event}`)).toEqual(['1 status', '2 stdout', '3 stdout', '4 end'])
    expect(sent.map(({ headers }) => headers.get('last-event-id'))).toEqual([null, '2', '2', '2', '2'])
    expect(sent[0]).toMatchObject({ url: `https://api.test/ergon/v1/jobs/${ID}/events` })
    expect(sent[0]?.headers.get('accept')).toBe('text/event-stream')
  })

  test('goes on where another process ended', async () => {
    const { client, sent } = scriptedClient([events([message('end', 9, job('failed'))])])
    expect(await collect(client.stream(ID, { lastEventId: '8' }))).toHaveLength(1)
    expect(sent[0]?.headers.get('last-event-id')).toBe('8')
  })

  test('goes on from where the server says that it is, and ends where it says that nothing follows', async () => {
    const { client, sent } = scriptedClient([
      events([message('status', 1, {}), 'id: 5\n\n', 'id: 6\nevent: stdout\nda']),
      new Response(null, { status: 204 }),
    ])
    expect((await collect(client.stream(ID))).map(({ id }) => id)).toEqual(['1'])
    expect(sent[1]?.headers.get('last-event-id')).toBe('5')
  })

  test('passes over what a newer server tells', async () => {
    const { client } = scriptedClient([events([message('mood', 1, {}), message('end', 2, job('failed'))])])
    expect((await collect(client.stream(ID))).map(({ event }) => event)).toEqual(['end'])
  })

  test('ends with a refusal', async () => {
    const { client } = scriptedClient([events([message('status', 1, {})]), problem(404, 'JOB_NOT_FOUND')])
    const stream = client.stream(ID)
    await stream.next()
    await expect(stream.next()).rejects.toMatchObject({ code: 'JOB_NOT_FOUND' })
  })

  test('lets go of the connection when nobody listens any more', async () => {
    let isCancelled = false
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode(message('status', 1, {}))),
      cancel: () => {
        isCancelled = true
      },
    })
    const { client } = scriptedClient([new Response(body)])
    for await (const event of client.stream(ID)) {
      expect(event.event).toBe('status')
      break
    }
    expect(isCancelled).toBe(true)
  })

  test('of a server that only hangs up is given up', async () => {
    const { client, sent } = scriptedClient(Array.from({ length: 50 }, () => events([])))
    await expect(collect(client.stream(ID))).rejects.toThrow('without a word')
    expect(sent).toHaveLength(20)
  })

  test('of all jobs has no end but the signal', async () => {
    const stop = new AbortController()
    const line = (id: number) => message('ended', id, { event: 'ended', job: job('completed') })
    const { client, sent } = scriptedClient([events([line(1)]), events([line(2)]), events([])])
    const seen: string[] = []
    const reading = async () => {
      for await (const { id } of client.events({ service: 'co2' }, { signal: stop.signal })) {
        seen.push(id)
        if (seen.length === 2) stop.abort(new Error('enough'))
      }
    }
    await expect(reading()).rejects.toThrow('enough')
    expect(seen).toEqual(['1', '2'])
    expect(sent[0]?.url).toBe('https://api.test/ergon/v1/events?service=co2')
  })
})
