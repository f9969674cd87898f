import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { redactJson } from './redact-json.ts'
import { Redactor, RedactingStream, SecretFinder } from './redact.ts'

const SECRET = 'sk_live/4f9a+77=="x'

function redactorOf(...values: string[]): Redactor {
  const redactor = new Redactor()
  redactor.add(values)
  return redactor
}

function inPieces(redactor: Redactor, pieces: readonly string[]): string {
  const stream = new RedactingStream(redactor)
  return pieces.map((piece) => stream.push(piece)).join('') + stream.end()
}

describe('Redactor', () => {
  it.each([
    ['as it is', SECRET],
    ['percent-encoded', encodeURIComponent(SECRET)],
    ['in base64', Buffer.from(SECRET).toString('base64')],
    ['in base64 for URLs', Buffer.from(SECRET).toString('base64url')],
    ['escaped in JSON', JSON.stringify(SECRET).slice(1, -1)],
  ])('hides a value %s', (_how, form) => {
    const text = redactorOf(SECRET).redact(`before ${form} after`)
    expect(text).toMatch(/^before \[redacted\].? ?=*.{0,2}after$/)
    expect(text).not.toContain(form.slice(0, -2))
  })

  it('hides each long line of a key file', () => {
    const key = '-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nAAAA\n-----END KEY-----'
    expect(redactorOf(key).redact('got MIIEvQIBADANBgkqhkiG9w0 and AAAA')).toBe('got [redacted] and AAAA')
  })

  it('leaves short values and everything else alone', () => {
    expect(redactorOf('12345', '').redact('12345 is no secret')).toBe('12345 is no secret')
  })

  it('hides values that overlap as a whole', () => {
    expect(redactorOf('abcdef', 'defghi').redact('xabcdefghiy')).toBe('x[redacted]y')
  })
})

describe('RedactingStream', () => {
  const alphabet = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 40 })
  const secrets = fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 6, maxLength: 9 }), { maxLength: 3 })

  it('does not care where the text is cut', () => {
    fc.assert(
      fc.property(secrets, alphabet, fc.array(fc.nat(40), { maxLength: 4 }), (values, text, cuts) => {
        const redactor = redactorOf(...values)
        const at = [0, ...cuts.toSorted((a, b) => a - b), text.length]
        const pieces = at.slice(1).map((end, index) => text.slice(at[index], end))
        expect(inPieces(redactor, pieces)).toBe(inPieces(redactor, [text]))
      }),
    )
  })

  it('never lets a value through, in whatever pieces', () => {
    fc.assert(
      fc.property(secrets, alphabet, (values, text) => {
        const shown = inPieces(redactorOf(...values), text.split(''))
        for (const value of values) expect(shown).not.toContain(value)
      }),
    )
  })

  it('keeps everything but the values', () => {
    expect(inPieces(redactorOf('secret'), ['a sec', 're', 'tb ', 'secre', 'd'])).toBe('a [redacted]b secred')
  })

  it('holds back no more than the beginning of a value', () => {
    const stream = new RedactingStream(redactorOf('secret'))
    expect(stream.push('x'.repeat(1_000))).toHaveLength(1_000)
    expect(stream.push('secr')).toBe('')
    expect(stream.push('ets')).toBe('[redacted]')
    expect(stream.end()).toBe('s')
  })

  it('takes a value that is registered meanwhile', () => {
    const redactor = redactorOf('secret')
    const stream = new RedactingStream(redactor)
    const before = stream.push('session-token ')
    redactor.add(['session-token'])
    expect(before + stream.push('session-token ') + stream.end()).toBe('session-token [redacted] ')
  })
})

describe('redactJson', () => {
  const redactor = redactorOf('secret', '12345678')

  it('hides values in strings, keys and numbers, and leaves the rest as it was written', () => {
    const json =
      '{ "a":1.0, "secret":"my \\u0073ecret \\\\", "n":[12345678901234567890,1e400], "x": "\\"", "o": 912345678 }'
    expect(redactJson(json, redactor)).toBe(
      '{ "a":1.0, "[redacted]":"my [redacted] \\\\", "n":["[redacted]90[redacted]90",1e400], "x": "\\"", "o": "9[redacted]" }',
    )
  })

  it('gives JSON back, always', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(JSON.parse(redactJson(json, redactor))).toEqual(JSON.parse(json.replaceAll('secret', '[redacted]')))
      }),
    )
  })

  it('takes time in proportion to the text, however it is escaped', () => {
    const json = JSON.stringify('\\"'.repeat(500_000))
    const startedAt = performance.now()
    expect(redactJson(json, redactor)).toBe(json)
    expect(performance.now() - startedAt).toBeLessThan(2_000)
  })
})

describe('SecretFinder', () => {
  it('finds a value across pieces of bytes, and nothing else', () => {
    const found = (...pieces: string[]) => {
      const finder = new SecretFinder(redactorOf('sécret'))
      return pieces.some((piece) => finder.push(Buffer.from(piece, 'latin1')))
    }
    const bytes = Buffer.from('a sécret b').toString('latin1')
    for (let cut = 0; cut < bytes.length; cut++) expect(found(bytes.slice(0, cut), bytes.slice(cut))).toBe(true)
    expect(found('a secret b', 's', 'écret')).toBe(false)
  })
})
