import { describe, expect, it } from 'vitest'
import { readJobHeaders } from './header-rules.ts'

const isTaken = (name: string) => readJobHeaders({ [name]: 'x' }, { 'x-own': '1' }).ok

describe('a header of a job', () => {
  it.each([
    // What a server would take for another address, method, sender or user than the request's own.
    ...['X-Original-URL', 'X-Rewrite-URL', 'X-HTTP-Method', 'X-HTTP-Method-Override', 'X-Method-Override', 'X-Method'],
    ...['Forwarded', 'Via', 'X-Forwarded', 'X-Forwarded-For', 'x_forwarded_host', 'X-Forwarded-Proto', 'X-Forward-For'],
    ...['X-Real-IP', 'X-Client-IP', 'True-Client-IP', 'X-Cluster-Client-IP', 'CF-Connecting-IP', 'X-Originating-IP'],
    ...['Client-IP', 'X-Remote-User', 'Remote-User', 'X-ProxyUser-Ip', 'X-Host', 'X-HTTP-Host-Override', 'X-Path'],
    ...['X-SSL-Client-Cert', 'X-Amzn-Oidc-Data', 'X-Goog-IAP-JWT-Assertion', 'X-MS-CLIENT-PRINCIPAL', 'Sec-Fetch-Site'],
    ...['X-Accel-Redirect', 'X-Envoy-Original-Path', 'X-Auth-Request-User', 'CDN-Loop', 'Max-Forwards', 'Set-Cookie'],
    // Of one connection.
    ...[
      'Connection',
      'Keep-Alive',
      'TE',
      'Trailer',
      'Transfer-Encoding',
      'Upgrade',
      'HTTP2-Settings',
      'Proxy-Connection',
    ],
    // Which would make another answer.
    ...['Range', 'If-Range', 'Accept-Charset', 'Accept-Encoding'],
    ...['Authorization', 'X-Own', 'x_own'],
  ])('%s is refused', (name) => {
    expect(isTaken(name)).toBe(false)
  })

  it.each([
    ...['Accept', 'Accept-Language', 'Cache-Control', 'Content-Type', 'Content-Encoding', 'Content-Range', 'Cookie'],
    ...['If-None-Match', 'If-Modified-Since', 'Prefer', 'Referer', 'Traceparent', 'User-Agent', 'Idempotency-Key'],
    ...['X-Request-Id', 'X-Tenant', 'X-Client-Name', 'X-Client-Id', 'X-Amz-Acl', 'X-Ms-Version', 'X-Goog-User-Project'],
    ...['X-Trace', 'X-Source', 'X-Resource-Address-Id', 'X-Export-Host-Names', 'Secret-Sauce', 'Methodology'],
  ])('%s is taken', (name) => {
    expect(isTaken(name)).toBe(true)
  })
})
