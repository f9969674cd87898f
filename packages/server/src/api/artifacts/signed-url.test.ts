import { describe, expect, it } from 'vitest'
import { requireSignature, signUrl, type SignedQuery } from './signed-url.ts'

const key = Buffer.alloc(32, 1)
const artifactId = '0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f'
const other = '0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f40'
const tenantId = '11111111-1111-4111-8111-111111111111'
const expires = 2_000_000_000
const before = expires * 1_000 - 1
const refused = expect.objectContaining({ code: 'SIGNATURE_INVALID' })

function queryOf(url: string): SignedQuery {
  const query = new URLSearchParams(url.split('?')[1])
  return {
    expires: Number(query.get('expires')),
    signature: query.get('signature') ?? '',
    tenant: query.get('tenant') ?? undefined,
  }
}

describe.each([tenantId, null])('a signed address of tenant %s', (tenant) => {
  const url = signUrl(key, { artifactId, tenantId: tenant, expires })
  const query = queryOf(url)
  const check = (id: string, changed: Partial<SignedQuery> = {}, now = before, with_ = key) =>
    requireSignature(with_, id, { ...query, ...changed }, now)

  it('opens its artifact, as its tenant, until it expires', () => {
    expect(url.startsWith(`/v1/artifacts/${artifactId}/content?`)).toBe(true)
    expect(check(artifactId)).toEqual({ artifactId, tenantId: tenant, expires })
    expect(() => check(artifactId, {}, expires * 1_000)).toThrow(refused)
  })

  it('opens nothing else', () => {
    expect(() => check(other)).toThrow(refused)
    expect(() => check(artifactId, { expires: expires + 1 })).toThrow(refused)
    expect(() => check(artifactId, { tenant: other })).toThrow(refused)
    expect(() => check(artifactId, { tenant: tenant === null ? tenantId : undefined })).toThrow(refused)
    expect(() => check(artifactId, {}, before, Buffer.alloc(32, 2))).toThrow(refused)
  })

  it('is refused with every character of its signature altered, cut or continued', () => {
    const { signature } = query
    for (let at = 0; at < signature.length - 1; at++) {
      const altered = signature[at] === 'A' ? 'B' : 'A'
      expect(() =>
        check(artifactId, { signature: signature.slice(0, at) + altered + signature.slice(at + 1) }),
      ).toThrow(refused)
    }
    for (const each of ['', signature.slice(1), `${signature}AAAA`, signature.repeat(100)])
      expect(() => check(artifactId, { signature: each })).toThrow(refused)
  })
})
