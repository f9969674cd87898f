import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type AuditRow, type AuditSeal, digestOf, entriesDigest, NO_SEAL, rowDigest, sealText } from './audit-chain.ts'
import { AuditVerifier, type AuditFault } from './verify-audit.ts'

/** A signature that only the holder of `secret` makes: enough to try the chain; the real key has tests of its own. */
function keyOf(secret: string) {
  const sign = (text: string) => createHash('sha512').update(secret).update(text).digest()
  return {
    keyId: digestOf(secret),
    sign,
    isSignatureOf: (text: string, signature: Uint8Array) => sign(text).equals(signature),
  }
}
const key = keyOf('ours')

function rowOf(xid: number, seq: number, entry = `{"n":${seq}}`): AuditRow {
  return {
    cluster: '7',
    xid: String(xid),
    seq: String(seq),
    recorded_at: '2030-01-01T00:00:00.000000Z',
    recorded_by: 'ergon_worker',
    job_id: null,
    identifier: null,
    entry,
  }
}

type Three = [AuditRow, AuditRow, AuditRow]

interface Range {
  seal: AuditSeal
  rows: AuditRow[]
}

function seal(before: AuditSeal | null, rows: AuditRow[], upto: number, by = key): Range {
  const digests = rows.map(rowDigest).join('')
  const fields = {
    number: String(Number(before?.number ?? 0) + 1),
    cluster: '7',
    from_xid: before?.upto_xid ?? '0',
    upto_xid: String(upto),
    entry_count: rows.length,
    previous_digest: before?.digest ?? NO_SEAL,
    sealed_at: '2030-01-01T00:00:00.000Z',
    key_id: by.keyId,
  }
  const text = sealText({ ...fields, entries_digest: entriesDigest(digests) })
  const signature = by.sign(text).toString('hex')
  return { seal: { ...fields, entry_digests: digests, digest: digestOf(text), signature }, rows }
}

const secondRows = (): Three => [rowOf(20, 4), rowOf(20, 5), rowOf(25, 6)]

function trail(): [Range, Range, Range] {
  const first = seal(null, [rowOf(10, 2), rowOf(11, 1), rowOf(12, 3)], 20)
  const second = seal(first.seal, secondRows(), 30)
  return [first, second, seal(second.seal, [rowOf(31, 7)], 40)]
}

function verify(ranges: readonly Range[], isFromBeginning = true): AuditFault | null {
  const verifier = new AuditVerifier({ keys: new Map([[key.keyId, key]]), isFromBeginning })
  for (const { seal: each, rows } of ranges) {
    const fault = verifier.check(each, rows)
    if (fault !== null) return fault
  }
  return null
}

describe('AuditVerifier', () => {
  it('finds nothing where nothing was changed', () => {
    expect(verify(trail())).toBeNull()
    expect(verify(trail().slice(1), false)).toBeNull()
  })

  it.each<[string, (rows: Three) => AuditRow[], string | null, string]>([
    ['altered', ([a, b, ...rest]) => [a, { ...b, entry: '{}' }, ...rest], '5', 'entry 5 (entry 2 of 3) was altered'],
    ['deleted', ([a, , c]) => [a, c], null, 'entry 2 of 3 (the one behind entry 4) was deleted'],
    ['deleted first', ([, b, c]) => [b, c], null, 'entry 1 of 3 (the first) was deleted'],
    ['deleted last', ([a, b]) => [a, b], null, 'entry 3 of 3 (the one behind entry 5) was deleted'],
    ['truncated', () => [], null, 'entry 1 of 3 (the first) was deleted'],
    ['inserted', ([a, ...rest]) => [a, rowOf(20, 99), ...rest], '99', 'entry 99 was inserted'],
    ['inserted last', (rows) => [...rows, rowOf(29, 99)], '99', 'entry 99 was inserted'],
    ['renumbered', ([a, b, c]) => [{ ...b, seq: '4' }, { ...a, seq: '5' }, c], '4', 'was altered'],
    ['reordered', ([a, b, c]) => [b, a, c], '5', 'another order'],
    ['moved', ([a, b, c]) => [a, b, { ...c, xid: '35' }], '6', 'does not belong'],
    ['signed over', ([a, ...rest]) => [{ ...a, recorded_by: 'postgres' }, ...rest], '4', 'was altered'],
  ])('names an entry that was %s', (_what, change, seq, words) => {
    const [first, second, third] = trail()
    const fault = verify([first, { ...second, rows: change(secondRows()) }, third])
    expect(fault).toMatchObject({ seal: '2', seq })
    expect(fault?.problem).toContain(words)
  })

  it.each<[string, (ranges: [Range, Range, Range]) => Range[], string, string]>([
    ['the first one was removed', ([, b, c]) => [b, c], '1', 'it is missing: seal 2 follows the beginning'],
    ['one was removed', ([a, , c]) => [a, c], '2', 'it is missing: seal 3 follows 1'],
    ['another key signed', ([a, b]) => [a, seal(a.seal, b.rows, 30, keyOf('theirs'))], '2', 'another key'],
    ['a field was altered', ([a, b]) => [a, { ...b, seal: { ...b.seal, upto_xid: '29' } }], '2', 'its digest'],
    [
      'a field and the digest were altered',
      ([a, b]) => {
        const forged = seal(a.seal, b.rows, 29, keyOf('theirs'))
        return [a, { ...forged, seal: { ...forged.seal, key_id: key.keyId } }]
      },
      '2',
      'was altered',
    ],
    [
      'rows and their digests were altered',
      ([a, b]) => {
        const rows = [rowOf(20, 4, '{}')]
        return [a, { rows, seal: { ...b.seal, entry_digests: rows.map(rowDigest).join(''), entry_count: 1 } }]
      },
      '2',
      'its digest',
    ],
    ['a signature is nonsense', ([a, b]) => [a, { ...b, seal: { ...b.seal, signature: 'ab' } }], '2', 'its signature'],
    [
      'the chain is another one',
      ([a, , c]) => [a, { ...c, seal: { ...c.seal, number: '2' } }],
      '2',
      'it continues another chain',
    ],
    [
      'a range was left out, by somebody with the key',
      ([a]) => [a, seal({ ...a.seal, upto_xid: '25' }, [rowOf(31, 7)], 40)],
      '2',
      'its range begins at 25',
    ],
  ])('names the seal where %s', (_what, change, number, words) => {
    const fault = verify(change(trail()))
    expect(fault).toMatchObject({ seal: number, seq: null })
    expect(fault?.problem).toContain(words)
  })
})

describe('rowDigest', () => {
  it('tells fields apart that read the same one behind the other', () => {
    const row = rowOf(1, 1)
    expect(rowDigest({ ...row, identifier: 'a', entry: 'b' })).not.toBe(
      rowDigest({ ...row, identifier: 'a,1:b', entry: '' }),
    )
    expect(rowDigest({ ...row, identifier: null })).not.toBe(rowDigest({ ...row, identifier: '-' }))
  })
})
