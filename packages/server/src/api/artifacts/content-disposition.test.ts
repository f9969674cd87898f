import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { attachmentOf, contentTypeOf } from './content-disposition.ts'

describe('attachmentOf', () => {
  it.each([
    ['plot.png', 'attachment; filename="plot.png"'],
    ['../../etc/passwd', 'attachment; filename="passwd"'],
    ['C:\\Windows\\evil.exe', 'attachment; filename="evil.exe"'],
    ['.bashrc', 'attachment; filename="bashrc"'],
    ['..', 'attachment; filename="artifact"'],
    ['a"; filename="b.html', 'attachment; filename="a_; filename=_b.html"'],
    ['a\r\nSet-Cookie: x=1', 'attachment; filename="a__Set-Cookie_ x=1"'],
    ['50%.csv', `attachment; filename="50_.csv"; filename*=UTF-8''50%25.csv`],
    ['größe.csv', `attachment; filename="gr__e.csv"; filename*=UTF-8''gr%C3%B6%C3%9Fe.csv`],
    ['invoice\u202Efdp.exe', 'attachment; filename="invoice_fdp.exe"'],
    ['\ud800', `attachment; filename="_"; filename*=UTF-8''%EF%BF%BD`],
  ])('of %j is %s', (name, header) => {
    expect(attachmentOf(name)).toBe(header)
  })

  it('is one well-formed header for every name', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (name) => {
        const form =
          /^attachment; filename="[\x20-\x21\x23-\x5b\x5d-\x7e]+"(; filename\*=UTF-8''([A-Za-z0-9._~-]|%[0-9A-F]{2})+)?$/
        expect(attachmentOf(name)).toMatch(form)
      }),
    )
  }, 30_000)
})

it.each([
  ['image/svg+xml', 'image/svg+xml'],
  ['text/html; charset=utf-7', 'application/octet-stream'],
  ['text/html\r\nX-Evil: 1', 'application/octet-stream'],
  ['', 'application/octet-stream'],
])('contentTypeOf(%j) is %s', (recorded, sent) => {
  expect(contentTypeOf(recorded)).toBe(sent)
})
