import { text } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Answer } from './compose-answer.ts'
import { writeAnswer } from './write-answer.ts'

const ID = 'aaaaaaaa-0000-4000-8000-000000000001'
const body: Answer['body'] = {
  executionId: ID,
  status: 'success',
  stdout: '"\n',
  stderr: '',
  exitCode: 0,
  durationMs: 1,
  errorCategory: null,
}

function answerWith(...digests: (string | null)[]): Answer {
  const shown = { artifactId: ID, type: 'data', mimeType: 'a/b', filename: '"', sizeBytes: 1 } as const
  return { httpStatus: 200, body, artifacts: digests.map((inlineDigest) => ({ shown, inlineDigest })) }
}

async function written(answer: Answer, open: (digest: string) => Promise<Readable>): Promise<unknown> {
  const content = await writeAnswer(answer, open)
  return JSON.parse(typeof content === 'string' ? content : await text(content))
}

describe('writeAnswer', () => {
  it('writes an answer without files', async () => {
    expect(await written(answerWith(), () => Promise.reject(new Error('nothing to open')))).toEqual({
      ...body,
      artifacts: [],
    })
  })

  it('writes every byte, however they come', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 9 }), async (chunks) => {
        const bytes = Buffer.concat(chunks)
        const open = () => Promise.resolve(Readable.from(chunks.map((chunk) => Buffer.from(chunk))))
        const { shown } = answerWith('d').artifacts[0] ?? {}
        expect(await written(answerWith('d', null), open)).toEqual({
          ...body,
          artifacts: [
            { ...shown, dataUrl: `data:a/b;base64,${bytes.toString('base64')}` },
            { ...shown, dataUrl: null },
          ],
        })
      }),
    )
  })

  it('has one file open at a time, in their order', async () => {
    const events: string[] = []
    const open = (digest: string) => {
      events.push(`open ${digest}`)
      const bytes = Readable.from([Buffer.from(digest)])
      return Promise.resolve(bytes.once('close', () => events.push(`closed ${digest}`)))
    }
    await written(answerWith(null, 'a', 'b', null, 'c'), open)
    expect(events.slice(0, 5)).toEqual(['open a', 'closed a', 'open b', 'closed b', 'open c'])
  })

  it('throws before anything is written when the first file cannot be opened', async () => {
    const open = () => Promise.reject(new Error('gone'))
    await expect(writeAnswer(answerWith(null, 'a'), open)).rejects.toThrow('gone')
  })

  it('ends in an error when a later one cannot', async () => {
    const open = (digest: string) =>
      digest === 'a' ? Promise.resolve(Readable.from([Buffer.from('x')])) : Promise.reject(new Error('gone'))
    await expect(written(answerWith('a', 'b'), open)).rejects.toThrow('gone')
  })

  it('ends in an error when bytes are not what they should be', async () => {
    const broken = new Readable({
      read() {
        this.destroy(new Error('not these bytes'))
      },
    })
    await expect(written(answerWith('a'), () => Promise.resolve(broken))).rejects.toThrow('not these bytes')
  })

  it('closes its files when whoever reads it goes away', async () => {
    const bytes = new Readable({ read() {} })
    const content = await writeAnswer(answerWith('a'), () => Promise.resolve(bytes))
    if (typeof content === 'string') throw new Error('expected a stream')
    content.read()
    content.destroy()
    await expect.poll(() => bytes.destroyed).toBe(true)
  })
})
