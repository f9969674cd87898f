import { expect, it } from 'vitest'
import { followRedirect, type HttpRequest } from './redirect.ts'

const request: HttpRequest = {
  method: 'POST',
  url: new URL('https://api.test/v1/things?x=1'),
  headers: {
    accept: '*/*',
    authorization: 'Bearer t',
    cookie: 'c=1',
    'content-type': 'application/json',
    'idempotency-key': 'k',
    'x-api-key': 'k',
    'x-account': 'a',
  },
  body: Buffer.from('{}'),
}

it('takes no credential, and nothing that could be one, to another origin', () => {
  for (const location of ['https://other.test/', '//other.test/', 'https://api.test:8443/', 'http://api.test/'])
    expect(followRedirect(request, 307, location)?.headers).toEqual({
      accept: '*/*',
      'content-type': 'application/json',
    })
})

it('does not bring them back', () => {
  const away = followRedirect(request, 307, 'https://other.test/')
  const back = away === null ? null : followRedirect(away, 307, 'https://api.test/')
  expect(back?.headers).toEqual({ accept: '*/*', 'content-type': 'application/json' })
})

it('keeps them within the origin', () => {
  expect(followRedirect(request, 308, '../w')).toMatchObject({ headers: request.headers, body: request.body })
})

it('takes neither user names nor fragments from where it is sent', () => {
  const url = followRedirect(request, 302, 'https://me:you@api.test/x#y')?.url.href
  expect(url).toBe('https://api.test/x')
})

it.each([
  [200, '/x'],
  [304, '/x'],
  [300, '/x'],
  [302, null],
  [302, 'https://[broken'],
])('%i with location %j is an answer', (status, location) => {
  expect(followRedirect(request, status, location)).toBeNull()
})
