import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Redactor } from '../platform/text/redact.ts'
import { OutputRecorder } from './output-recorder.ts'

type Append = [stream: string, offset: number, text: string]

function recorder(answer: () => Promise<boolean> = () => Promise.resolve(true), redactor = new Redactor()) {
  const appends: Append[] = []
  const output = new OutputRecorder((...append) => {
    appends.push(append)
    return answer()
  }, redactor)
  return { output, appends }
}

describe('OutputRecorder', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('writes nothing live for a job that is over at once', async () => {
    const { output, appends } = recorder()
    output.write('stdout', Buffer.from('quick'))
    expect(await output.finish()).toEqual({ stdout: 'quick', stderr: '' })
    await vi.advanceTimersByTimeAsync(1_000)
    expect(appends).toEqual([])
  })

  it('hides a secret across chunks and flushes, live and in the end', async () => {
    const redactor = new Redactor()
    redactor.add(['hunter2-hunter2'])
    const { output, appends } = recorder(undefined, redactor)
    output.write('stdout', Buffer.from('é hunter2-'))
    await vi.advanceTimersByTimeAsync(250)
    output.write('stdout', Buffer.from('hunter2 ok'))
    await vi.advanceTimersByTimeAsync(250)
    expect(appends).toEqual([
      ['stdout', 0, 'é '],
      ['stdout', 3, '[redacted] ok'],
    ])
    expect(await output.finish()).toEqual({ stdout: 'é [redacted] ok', stderr: '' })
  })

  it('writes chunks with offsets in bytes of the sanitised text, each stream by itself', async () => {
    const { output, appends } = recorder()
    output.write('stdout', Buffer.from('é\u0000'))
    output.write('stderr', Buffer.from('oh'))
    await vi.advanceTimersByTimeAsync(250)
    output.write('stdout', Buffer.from('next'))
    await vi.advanceTimersByTimeAsync(250)
    expect(appends).toEqual([
      ['stdout', 0, 'é␀'],
      ['stderr', 0, 'oh'],
      ['stdout', Buffer.byteLength('é␀'), 'next'],
    ])
    expect(await output.finish()).toEqual({ stdout: 'é␀next', stderr: 'oh' })
  })

  it('writes a large chunk without waiting for the interval', async () => {
    const { output, appends } = recorder()
    await vi.advanceTimersByTimeAsync(300)
    output.write('stdout', Buffer.alloc(20_000, 'x'))
    await vi.advanceTimersByTimeAsync(1)
    expect(appends.map(([, offset, text]) => [offset, text.length])).toEqual([[0, 20_000]])
  })

  it('stops live writing when the job is not ours any more, and still gives the whole text', async () => {
    const { output, appends } = recorder(() => Promise.resolve(false))
    output.write('stdout', Buffer.from('a'))
    await vi.advanceTimersByTimeAsync(250)
    output.write('stdout', Buffer.from('b'))
    await vi.advanceTimersByTimeAsync(1_000)
    expect(appends).toHaveLength(1)
    expect(await output.finish()).toEqual({ stdout: 'ab', stderr: '' })
  })

  it('survives a database that is away', async () => {
    const { output } = recorder(() => Promise.reject(new Error('gone')))
    output.write('stderr', Buffer.from('still here'))
    await vi.advanceTimersByTimeAsync(250)
    expect(await output.finish()).toEqual({ stdout: '', stderr: 'still here' })
  })

  it('sends a chunk again as it was, since a lost answer may have been a yes, and then what came after it', async () => {
    let isAway = true
    const { output, appends } = recorder(() => (isAway ? Promise.reject(new Error('gone')) : Promise.resolve(true)))
    output.write('stdout', Buffer.from('one'))
    await vi.advanceTimersByTimeAsync(250)
    output.write('stdout', Buffer.from('two'))
    await vi.advanceTimersByTimeAsync(2_000)
    isAway = false
    await vi.advanceTimersByTimeAsync(2_000)
    expect(appends.slice(0, -1).every((append) => append[1] === 0 && append[2] === 'one')).toBe(true)
    expect(appends.length).toBeLessThan(8)
    expect(appends.at(-1)).toEqual(['stdout', 3, 'two'])
  })

  it('completes a character that two chunks share', async () => {
    const { output } = recorder()
    const bytes = Buffer.from('€')
    output.write('stdout', bytes.subarray(0, 1))
    output.write('stdout', bytes.subarray(1))
    expect((await output.finish()).stdout).toBe('€')
  })
})
