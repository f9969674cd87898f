import { createHmac, timingSafeEqual } from 'node:crypto'
import { ErgonError } from '../../platform/errors/ergon-error.ts'

/** What a signed address lets its bearer do: read the bytes of one artifact, as its tenant, for some time. */
export interface SignedAccess {
  artifactId: string
  /** Null for an artifact of no tenant. */
  tenantId: string | null
  /** Seconds of the epoch. */
  expires: number
}

/** The query parameters of a signed address. */
export interface SignedQuery {
  expires: number
  signature: string
  tenant?: string | undefined
}

/** The address, without a host: a request's Host header is whatever its sender wrote. */
export function signUrl(key: Buffer, access: SignedAccess): string {
  const query = new URLSearchParams({ expires: String(access.expires) })
  if (access.tenantId !== null) query.set('tenant', access.tenantId)
  query.set('signature', sign(key, access).toString('base64url'))
  return `${pathOf(access.artifactId)}?${query.toString()}`
}

/** What the address allows; throws SIGNATURE_INVALID, in the same words for an altered one and one that has expired. */
export function requireSignature(
  key: Buffer,
  artifactId: string,
  { expires, signature, tenant }: SignedQuery,
  now: number,
): SignedAccess {
  const access = { artifactId, tenantId: tenant ?? null, expires }
  const given = Buffer.from(signature, 'base64url')
  const expected = sign(key, access)
  const isSame = given.length === expected.length && timingSafeEqual(given, expected)
  if (isSame && expires * 1_000 > now) return access
  throw new ErgonError(
    'SIGNATURE_INVALID',
    'the signed address is altered, has expired, or is that of another artifact',
  )
}

/** Every part has a form of its own without line breaks, so that no two accesses have the same text. */
function sign(key: Buffer, { artifactId, tenantId, expires }: SignedAccess): Buffer {
  const text = ['ergon-url/1', 'GET', pathOf(artifactId), artifactId.toLowerCase(), expires, tenantId ?? ''].join('\n')
  return createHmac('sha256', key).update(text).digest()
}

function pathOf(artifactId: string): string {
  return `/v1/artifacts/${artifactId.toLowerCase()}/content`
}
