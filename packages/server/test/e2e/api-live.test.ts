import { readdirSync, readFileSync } from 'node:fs'
import type { JobOutputEvent, JobView } from '@ergon/contract'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { EventReader, type ReadEvent } from '../../src/testing/event-reader.ts'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { leftoversAfter } from './leftovers.ts'

/** Lines of characters of several bytes, for eight seconds. */
const TALKS = `
import os, sys, time
for n in range(80):
  os.write(1, f"{n} é€𝄞\\n".encode())
  if n % 5 == 0: os.write(2, b"%d\\n" % n)
  time.sleep(0.1)
`
const STDOUT = Array.from({ length: 80 }, (_, n) => `${n} é€𝄞\n`).join('')
const STDERR = Array.from({ length: 16 }, (_, n) => `${n * 5}\n`).join('')

let home: ErgonHome
let application: Application
let url: string
let token: string

beforeAll(async () => {
  home = new ErgonHome({ ERGON_API_LISTEN: '127.0.0.1:0' })
  const { line } = await home.start('dev')
  application = new Application(await home.connect(databaseUrlOf(line)))
  url = z.object({ apiUrl: z.string() }).parse(line).apiUrl
  const made = await home.run('tokens', 'create', '--name', 'live', '--scopes', 'read', '--all-tenants', '--json')
  token = z.object({ token: z.string() }).parse(JSON.parse(made.stdout)).token
})
afterAll(async () => {
  await home.remove()
  expect(await leftoversAfter(home, 10_000)).toEqual([])
})

/** The process that serves the API of this home. */
function apiProcess(): number {
  const ids = readdirSync('/proc').filter((name) => {
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8')
      return command.includes(home.folder) && command.includes('api-process')
    } catch {
      return false
    }
  })
  if (ids.length !== 1) throw new Error(`expected one API process, found ${ids.join(', ')}`)
  return Number(ids[0])
}

/** Comes back as often as it must, as EventSource does. */
async function reconnect(address: string, lastId: string): Promise<EventReader> {
  for (;;) {
    const reader = await EventReader.open(address, token, lastId).catch(() => null)
    if (reader?.status === 200) return reader
    reader?.close()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** Every byte once: each text begins where the one before ended. */
function glue(events: readonly ReadEvent[], stream: string): string {
  let bytes = 0
  const texts = events
    .filter(({ type }) => type === stream)
    .map(({ data }) => {
      const { offset, text } = data as JobOutputEvent
      expect(offset).toBe(bytes)
      bytes += Buffer.byteLength(text)
      return text
    })
  return texts.join('')
}

test('a job is followed and the feed is read over the death of the API, without a byte lost or repeated', async () => {
  const feedUrl = `${url}/v1/events`
  let feed = await EventReader.open(feedUrl, token)
  await feed.until((reader) => reader.lastId !== '')
  const id = await application.insert({}, TALKS)
  const jobUrl = `${url}/v1/jobs/${id}/events`
  const events: ReadEvent[] = []
  let reader = await EventReader.open(jobUrl, token)
  // Some output, and the job still runs.
  await reader.until((r) => r.ofType('stdout').length >= 3)
  process.kill(apiProcess(), 'SIGKILL')
  await reader.untilOver()
  await feed.untilOver()
  events.push(...reader.events)
  expect(reader.ofType('end')).toEqual([])
  reader = await reconnect(jobUrl, reader.lastId)
  feed = await reconnect(feedUrl, feed.lastId)
  await reader.until((r) => r.ofType('end').length === 1, 60_000)
  await reader.untilOver()
  events.push(...reader.events)
  expect(glue(events, 'stdout')).toBe(STDOUT)
  expect(glue(events, 'stderr')).toBe(STDERR)
  const [end] = events.filter(({ type }) => type === 'end')
  expect(end?.data as JobView).toMatchObject({ job_id: id, status: 'SUCCEEDED', state: 'completed' })
  expect(new Set(events.map((event) => event.id)).size).toBe(events.length)
  // It was told everything, so there is nothing to come back for.
  const after = await (await EventReader.open(jobUrl, token, end?.id)).untilOver()
  expect(after.status).toBe(204)

  await feed.until((r) => r.events.length >= 1)
  expect(feed.events).toMatchObject([{ type: 'ended', data: { outcome: 'succeeded', job: { job_id: id } } }])
  feed.close()
})
