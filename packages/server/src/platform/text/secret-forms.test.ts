import { describe, expect, it } from 'vitest'
import { Redactor, SecretFinder } from './redact.ts'
import { formsOf } from './secret-forms.ts'

const SECRET = `wJalr/XUt+nF"EMI<K7>M&D'EN(G) bPxRfiCY-é`
const redactor = new Redactor()
redactor.add([SECRET])

const strict = encodeURIComponent(SECRET).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`)
const base64Of = (text: string) => Buffer.from(text).toString('base64').replace(/=+$/, '')

describe('a secret is found', () => {
  it.each([
    ['as PHP writes JSON', JSON.stringify(SECRET).slice(1, -1).replaceAll('/', '\\/')],
    [
      'as Go writes JSON',
      JSON.stringify(SECRET)
        .slice(1, -1)
        .replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`),
    ],
    ['as Python writes JSON', JSON.stringify(SECRET).slice(1, -1).replace('é', '\\u00e9')],
    ['in a page', SECRET.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')],
    [
      'in an attribute',
      SECRET.replaceAll('&', '&amp;')
        .replaceAll('<', '&lt;')
        .replaceAll('>', '&gt;')
        .replaceAll('"', '&quot;')
        .replaceAll("'", '&#x27;'),
    ],
    ['as a form sends it', new URLSearchParams({ a: SECRET }).toString().slice(2)],
    ['percent-encoded by Python', strict],
    ['percent-encoded in lower case', strict.replace(/%../g, (code) => code.toLowerCase())],
    ['in hexadecimal digits', Buffer.from(SECRET).toString('hex')],
  ])('%s', (_how, form) => {
    expect(redactor.redact(`before ${form} after`)).toBe('before [redacted] after')
  })

  it.each(['', 'a', 'ab', 'user:', 'Bearer '])('in base64 behind "%s"', (before) => {
    const text = base64Of(`${before}${SECRET} and more`)
    const shown = redactor.redact(text)
    expect(shown).toContain('[redacted]')
    // Beside it stands no more than the neighbours decide.
    expect(shown.length).toBeLessThan(base64Of(before).length + base64Of(' and more').length + '[redacted]'.length + 4)
  })
})

it('no form is so short that it would hide what is none', () => {
  for (const value of ['abcdef', 'a/../b', '../../..', '\u{1f600}\u{1f600}'])
    for (const form of formsOf(value)) expect(form.length).toBeGreaterThanOrEqual(6)
})

const json = (text: string) => JSON.stringify(text).slice(1, -1)
const hex = (text: string) => Buffer.from(text).toString('hex')

describe('a secret that was encoded twice is found', () => {
  it.each([
    ['JSON in JSON', json(json(SECRET))],
    ['percent codes of percent codes', encodeURIComponent(encodeURIComponent(SECRET))],
    ['percent codes of JSON', encodeURIComponent(json(SECRET))],
    ['percent codes of base64', encodeURIComponent(base64Of(SECRET))],
    ['base64 of percent codes', base64Of(encodeURIComponent(SECRET))],
    ['base64 of JSON in an object', base64Of(JSON.stringify({ token: SECRET }))],
    ['base64 of base64', base64Of(base64Of(SECRET))],
    ['base64 of "user:secret" in base64', base64Of(base64Of(`user:${SECRET}`))],
    ['hexadecimal digits of base64', hex(base64Of(SECRET))],
    ['base64 of UTF-16', Buffer.from(`a${SECRET}`, 'utf16le').toString('base64')],
  ])('%s', (_how, form) => {
    const shown = redactor.redact(`before ${form} after`)
    expect(shown).toMatch(/^before .{0,30}\[redacted\].{0,24} after$/)
  })

  it('and as text that was UTF-16', () => {
    const wide = Buffer.from(SECRET, 'utf16le').toString('latin1')
    expect(redactor.redact(wide.slice(0, -3).replaceAll('\u0000', '\u2400') + '\u2400é')).not.toContain('w\u2400J')
  })
})

describe('in a file, wherever its pieces end, a secret is found', () => {
  const utf16 = (text: string) => Buffer.from(text, 'utf16le')
  it.each([
    ['as UTF-8', Buffer.from(`a ${SECRET} b`)],
    ['as UTF-16', utf16(`a ${SECRET} b`)],
    ['as UTF-16 in the other order', utf16(`a ${SECRET} b`).swap16()],
    ['as UTF-16 that begins in the midst', Buffer.concat([Buffer.from('\n'), utf16(SECRET)])],
    ['as JSON in UTF-16', utf16(JSON.stringify({ a: SECRET }))],
    ['in base64', Buffer.from(base64Of(`user:${SECRET}`))],
    ['in base64 as UTF-16', utf16(base64Of(`user:${SECRET}`)).swap16()],
    ['as percent codes', Buffer.from(encodeURIComponent(SECRET))],
    ['as base64 of base64', Buffer.from(base64Of(base64Of(SECRET)))],
  ])('%s', (_how, bytes) => {
    for (let cut = 0; cut <= bytes.length; cut++) {
      const finder = new SecretFinder(redactor)
      const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)]
      expect(pieces.map((piece) => finder.push(piece))).toContain(true)
    }
    const byteWise = new SecretFinder(redactor)
    expect(Array.from(bytes, (byte) => byteWise.push(Buffer.from([byte])))).toContain(true)
  })

  it('and nothing else is', () => {
    const finder = new SecretFinder(redactor)
    expect(finder.push(Buffer.from(`${SECRET.slice(0, -2)} ${SECRET.slice(2)}`))).toBe(false)
    expect(finder.push(utf16(`${SECRET.slice(0, -2)} ${SECRET.slice(2)}`))).toBe(false)
  })

  it('a key of many lines by its beginning', () => {
    const key = Array.from({ length: 30 }, (_, i) => `line ${i}: ${base64Of(String(i).repeat(40))}`).join('\n')
    const keys = new Redactor()
    keys.add([key])
    expect(new SecretFinder(keys).push(utf16(key).subarray(2))).toBe(true)
    expect(new SecretFinder(keys).push(Buffer.from(json(key)))).toBe(true)
  })
})

it('forms are hundreds at the most, and a set is made once', () => {
  expect(formsOf(SECRET).length).toBeLessThan(400)
  const service = new Redactor()
  service.add(['first-secret'])
  const { secrets } = service
  expect(secrets.with(['of-a-call'])).toBe(secrets.with(['of-a-call']))
  expect(secrets.with(['first-secret', 'short'])).toBe(secrets)
})
