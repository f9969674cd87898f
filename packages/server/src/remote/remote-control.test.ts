import { createHash } from 'node:crypto'
import { ErgonClient } from '@ergon/client'
import type { Artifact } from '@ergon/contract'
import { describe, expect, test } from 'vitest'
import { createRemoteControl } from './remote-control.ts'

const controlOver = (answer: () => Response) =>
  createRemoteControl(
    new ErgonClient({ url: 'https://api.test', token: 't', retries: 0, fetch: () => Promise.resolve(answer()) }),
  )
const artifactOf = (bytes: string, name = 'a.txt'): Artifact => ({
  artifact_id: '0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f',
  kind: 'export',
  format: 'txt',
  digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
  size_bytes: bytes.length,
  uri: '',
  content_type: 'text/plain',
  metadata: { name, width: null, height: null },
})

describe('the bytes of an artifact', () => {
  const read = async (answer: () => Response) => {
    const pieces: Buffer[] = []
    for await (const piece of await controlOver(answer).openArtifact(artifactOf('hello')))
      pieces.push(Buffer.from(piece as Uint8Array))
    return Buffer.concat(pieces).toString('utf8')
  }

  test('come as they are', async () => {
    expect(await read(() => new Response('hello'))).toBe('hello')
  })

  test.each(['hell', 'Hello', ''])('are not believed where they are %j', async (text) => {
    await expect(read(() => new Response(text))).rejects.toMatchObject({ code: 'ARTIFACT_CORRUPT' })
  })

  test('that break off are told as that', async () => {
    const broken = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error('terminated')) })
    const told = { code: 'SERVER_UNREACHABLE', message: expect.stringContaining('broke off: terminated') }
    await expect(read(() => new Response(broken))).rejects.toMatchObject(told)
  })
})

test.each([
  ['plot.png', 'plot.png'],
  ['$(reboot)', 'FILE'],
  ['a b', 'FILE'],
  ['-rf', 'FILE'],
  ['../../.bashrc', 'FILE'],
])('the name %j is offered to a shell as %s', (name, word) => {
  const place = controlOver(() => new Response()).whereIsArtifact(artifactOf('', name))
  expect(place).toMatch(new RegExp(`--out ${word.replace('.', '\\.')}$`))
})

test.each([
  [422, { code: 'CURSOR_INVALID', detail: 'cursor: no', request_id: 'r' }, 'CURSOR_INVALID', 'cursor: no'],
  [500, { code: 'INTERNAL', detail: 'a fault', request_id: 'r' }, 'INTERNAL', 'a fault (HTTP 500, request r)'],
  [418, { code: 'OF_A_NEWER_SERVER', detail: 'tea' }, 'SERVER_UNREACHABLE', 'tea (HTTP 418)'],
])('a refusal %d is told with its code, and by whom it can be found', async (status, problem, code, message) => {
  const control = controlOver(() => new Response(JSON.stringify(problem), { status }))
  await expect(control.listJobs({ status: null, limit: 1 })).rejects.toMatchObject({ code, message })
})
