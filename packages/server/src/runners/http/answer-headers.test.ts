import { expect, it } from 'vitest'
import { storableHeaders } from './answer-headers.ts'

const headers = {
  'content-type': 'text/plain',
  'set-cookie': ['a=1', 'b=2'],
  'www-authenticate': 'Basic',
  'proxy-authenticate': 'Basic',
  'authentication-info': 'nextnonce="x"',
  'x-auth-token': 't',
  'x-csrf-token': 't',
  'x-api-key': 'k',
  etag: '"1"',
  'idempotency-key': 'k',
  'x-request-id': 'a\u0000\ud800',
}

it('of a service with credentials, no header of the session is kept', () => {
  expect(storableHeaders(headers, true)).toEqual({
    headers: { 'content-type': 'text/plain', etag: '"1"', 'idempotency-key': 'k', 'x-request-id': 'a\uFFFD\uFFFD' },
    left: [
      'set-cookie',
      'www-authenticate',
      'proxy-authenticate',
      'authentication-info',
      'x-auth-token',
      'x-csrf-token',
      'x-api-key',
    ],
  })
})

it('of a service without, all are', () => {
  expect(storableHeaders(headers, false)).toMatchObject({ headers: { 'set-cookie': ['a=1', 'b=2'] }, left: [] })
})
