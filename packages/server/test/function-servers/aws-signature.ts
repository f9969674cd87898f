import { createHash, createHmac } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

export interface AwsKey {
  secret: string
  /** The session token that must come with it; undefined for long-term keys. */
  token: string | undefined
}

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/
const MAX_AGE_MS = 300_000

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')
const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest()
const encode = (part: string): string =>
  encodeURIComponent(part).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

/** AWS's name for why it would refuse a request (signature version 4), or null. */
export function findSignatureFault(
  { headers, method, url: target }: IncomingMessage,
  body: Buffer,
  keys: ReadonlyMap<string, AwsKey>,
): string | null {
  const [, id = '', date = '', region = '', service = '', names = '', signature] =
    AUTHORIZATION.exec(headers.authorization ?? '') ?? []
  const key = keys.get(id)
  if (key === undefined || headers['x-amz-security-token'] !== key.token) return 'UnrecognizedClientException'
  const url = new URL(target ?? '/', 'http://localhost')
  const time = String(headers['x-amz-date'])
  const at = Date.parse(time.replace(/^(....)(..)(..T..)(..)/, '$1-$2-$3:$4:'))
  if (!(Math.abs(at - Date.now()) < MAX_AGE_MS)) return 'RequestExpired'
  const signed = names.split(';').map((name) => `${name}:${String(headers[name]).trim().replace(/ +/g, ' ')}\n`)
  const query = [...url.searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`).toSorted()
  const path = url.pathname.split('/').map(encode).join('/')
  const canonical = [method, path, query.join('&'), signed.join(''), names, sha256(body)].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', time, `${date}/${region}/${service}/aws4_request`, sha256(canonical)].join('\n')
  const signing = [date, region, service, 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${key.secret}`)
  return hmac(signing, toSign).toString('hex') === signature ? null : 'InvalidSignatureException'
}
