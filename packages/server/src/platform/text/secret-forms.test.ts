import { describe, expect, it } from 'vitest'
import { Redactor } from './redact.ts'
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
