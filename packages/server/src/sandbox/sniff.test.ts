import { describe, expect, it } from 'vitest'
import { SNIFF_BYTES, sniffFile } from './sniff.ts'

const allowed = new Set(['png', 'svg', 'json', 'csv'])
const png = Buffer.concat([
  Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13]),
  Buffer.from('IHDR'),
  Buffer.from([0, 0, 2, 128, 0, 0, 1, 224]),
])

describe('sniffFile', () => {
  it('reads the size of a png', () => {
    expect(sniffFile('a.png', png, false, allowed)).toEqual({
      ok: true,
      file: { format: 'png', width: 640, height: 480 },
    })
  })

  it('reads the size of an svg in CSS pixels', () => {
    const svg = Buffer.from(
      '<?xml version="1.0"?>\n<!-- x -->\n<svg width="460.8pt" height="345.6pt" xmlns="http://www.w3.org/2000/svg">',
    )
    expect(sniffFile('a.SVG', svg, true, allowed)).toEqual({
      ok: true,
      file: { format: 'svg', width: 614, height: 461 },
    })
  })

  it.each([
    ['a.png', Buffer.from('<html><script>'), 'CONTENT_MISMATCH'],
    ['a.svg', Buffer.from('<html><svg>'), 'CONTENT_MISMATCH'],
    ['a.pdf', Buffer.from('%PDF-1.7'), 'FORMAT_NOT_ALLOWED'],
    ['png', png, 'FORMAT_NOT_ALLOWED'],
    ['a.constructor', png, 'FORMAT_NOT_ALLOWED'],
  ])('refuses %s', (name, head, code) => {
    expect(sniffFile(name, head, true, allowed)).toMatchObject({
      ok: false,
      code,
    })
  })

  it('lets names leave that no format has, where they were asked for, and no other format instead', () => {
    const alsoBinary = new Set([...allowed, 'binary'])
    const file = { format: 'binary', width: null, height: null }
    expect(sniffFile('model.pkl', png, false, alsoBinary)).toEqual({ ok: true, file })
    expect(sniffFile('README', png, true, alsoBinary)).toEqual({ ok: true, file })
    expect(sniffFile('a.pdf', png, false, alsoBinary)).toMatchObject({ ok: false, code: 'FORMAT_NOT_ALLOWED' })
    expect(sniffFile('a.csv', png, false, alsoBinary)).toMatchObject({ ok: false, code: 'CONTENT_MISMATCH' })
  })

  it.each([
    ['<!---->', false],
    ['<!---->\n', false],
    ['<svg ', true],
    ['<svg width="1', true],
  ])('looks once at an svg made of %j', (part, isSvg) => {
    const head = Buffer.from(part.repeat(SNIFF_BYTES / part.length))
    const startedAt = performance.now()
    expect(sniffFile('a.svg', head, true, allowed).ok).toBe(isSvg)
    expect(performance.now() - startedAt).toBeLessThan(200)
  })

  it.each([
    ['\uFEFF <?xml version="1.0"?> <!-- a --><!-- <svg> --> <!DOCTYPE svg PUBLIC "x" "y"> <!----><svg>', true],
    ['<!DOCTYPE svg [<!ENTITY a "b">]><svg>', false],
    ['<!-- never closed <svg>', false],
    ['<svgx>', false],
    ['', false],
  ])('knows whether %j is an svg', (text, isSvg) => {
    expect(sniffFile('a.svg', Buffer.from(text), true, allowed).ok).toBe(isSvg)
  })

  it('refuses a csv that is not text', () => {
    expect(sniffFile('a.csv', Buffer.from([0xff, 0]), false, allowed)).toMatchObject({
      ok: false,
      code: 'CONTENT_MISMATCH',
    })
  })
})
