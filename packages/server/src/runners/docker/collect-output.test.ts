import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type Header, pack } from 'tar-stream'
import { describe, expect, it } from 'vitest'
import { collectOutput } from './collect-output.ts'

type Entry = Partial<Header> & { name: string; text?: string }

/** What is taken of an archive with these entries. */
async function collect(
  entries: readonly Entry[],
  { artifactCount = 10, artifactBytes = 1_000, cutTo = Infinity } = {},
) {
  const archive = pack()
  for (const { text, ...header } of entries) archive.entry(header, text ?? '')
  archive.finalize()
  const bytes = (await buffer(archive)).subarray(0, cutTo)
  const taken: Record<string, string> = {}
  const collected = await collectOutput(Readable.from([bytes]), {
    ...{ artifactCount, artifactBytes, folderBytes: 2_000, signal: AbortSignal.timeout(5_000) },
    open: (name) => {
      taken[name] = ''
      return Promise.resolve({
        write: (chunk) => {
          taken[name] += chunk.toString()
          return Promise.resolve()
        },
        finish: () => Promise.resolve(),
      })
    },
  })
  return { ...collected, taken }
}

describe('an output folder', () => {
  it('gives its plain files, and none of what is deeper', async () => {
    const entries = [
      { name: './', type: 'directory' as const },
      { name: './a.txt', text: 'one' },
      { name: './sub/', type: 'directory' as const },
      { name: './sub/b.txt', text: 'no' },
      { name: './c.txt', text: 'two' },
    ]
    expect(await collect(entries)).toEqual({ violations: [], limits: [], taken: { 'a.txt': 'one', 'c.txt': 'two' } })
  })

  it.each<[string, Entry, string]>([
    ['a link', { name: 'a.txt', type: 'symlink', linkname: '/etc/passwd' }, 'SYMLINK'],
    ['a hard link', { name: 'a.txt', type: 'link', linkname: '/etc/passwd' }, 'HARD_LINK'],
    ['a FIFO', { name: 'a.txt', type: 'fifo' }, 'NOT_REGULAR'],
    ['a device', { name: 'a.txt', type: 'character-device', devmajor: 1, devminor: 9 }, 'NOT_REGULAR'],
    ['another device', { name: 'a.txt', type: 'block-device' }, 'NOT_REGULAR'],
    ['a contiguous file', { name: 'a.txt', type: 'contiguous-file' }, 'NOT_REGULAR'],
    ['a name with a line break', { name: './a\nb.txt' }, 'BAD_NAME'],
    ['a name that turns direction', { name: 'a\u202egnp.txt' }, 'BAD_NAME'],
    ['a name with a leading dash', { name: '-rf' }, 'BAD_NAME'],
    ['two dots', { name: '..' }, 'BAD_NAME'],
  ])('refuses %s and takes the rest', async (_name, entry, code) => {
    const { violations, taken } = await collect([entry, { name: 'good.txt', text: 'x' }])
    expect(violations.map((violation) => violation.code)).toEqual([code])
    expect(Object.keys(taken)).toEqual(['good.txt'])
  })

  it('takes nothing by a path that leaves it', async () => {
    const { taken } = await collect([
      { name: '../../etc/passwd', text: 'x' },
      { name: '/etc/shadow', text: 'x' },
      { name: 'a/../../b', text: 'x' },
    ])
    expect(taken).toEqual({})
  })

  it('ends at its limits before it reads what is too much', async () => {
    const many = Array.from({ length: 12 }, (_, n) => ({ name: `${n}.txt`, text: 'x' }))
    expect((await collect(many)).limits).toEqual([{ counter: 'artifact_count', limit: 10, observed: 11 }])
    const large = await collect([
      { name: 'a.txt', text: 'x'.repeat(600) },
      { name: 'b.txt', text: 'x'.repeat(600) },
    ])
    expect(large.limits).toEqual([{ counter: 'artifact_bytes', limit: 1_000, observed: 1_200 }])
    expect(Object.keys(large.taken)).toEqual(['a.txt'])
  })

  it('ends before it reads through holes of what it does not take', async () => {
    const packed = pack()
    packed.entry({ name: './sub/a.txt' }, 'x'.repeat(3_000))
    packed.finalize()
    const archive = new Readable({ read: () => {} })
    // The file itself never comes: whoever waits for it waits until the signal.
    archive.push((await buffer(packed)).subarray(0, 512))
    const collected = collectOutput(archive, {
      ...{ artifactCount: 10, artifactBytes: 1_000, folderBytes: 2_000, signal: AbortSignal.timeout(5_000) },
      open: () => Promise.reject(new Error('never')),
    })
    expect(await collected).toEqual({
      violations: [],
      limits: [{ counter: 'artifact_bytes', limit: 1_000, observed: 3_000 }],
    })
  })

  it('tells at most a hundred violations', async () => {
    const links = Array.from({ length: 300 }, (_, n) => ({ name: `${n}.txt`, type: 'symlink' as const, linkname: '/' }))
    expect((await collect(links)).violations).toHaveLength(100)
  })

  it('throws where the archive is cut or is none', async () => {
    await expect(collect([{ name: 'a.txt', text: 'x'.repeat(900) }], { cutTo: 700 })).rejects.toThrow(
      'Unexpected end of data',
    )
    const none = collectOutput(Readable.from([Buffer.alloc(2_048, 'x')]), {
      artifactCount: 1,
      artifactBytes: 1,
      folderBytes: 1,
      signal: AbortSignal.timeout(5_000),
      open: () => Promise.reject(new Error('never')),
    })
    await expect(none).rejects.toThrow('Invalid tar header')
  })
})
