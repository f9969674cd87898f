import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatFeedPosition, isBehind, parseFeedPosition } from './feed-position.ts'
import { digestOf, formatJobPosition, JOB_START, parseJobPosition } from './job-position.ts'

describe('the id of an event', () => {
  it('is the whole position of a job’s reader', () => {
    const id = randomUUID()
    const digest = fc.oneof(fc.constant(''), fc.string().map(digestOf))
    const position = fc.record({
      output: fc.record({
        attempt: fc.nat(999_999),
        beganAt: fc.option(fc.nat(Number.MAX_SAFE_INTEGER)),
        stdout: fc.nat(17 * 1024 * 1024),
        stderr: fc.nat(17 * 1024 * 1024),
      }),
      status: digest,
      progress: digest,
      artifacts: fc.nat(1_000),
      isOver: fc.boolean(),
    })
    fc.assert(
      fc.property(position, (given) => {
        const text = formatJobPosition(id, given)
        expect(parseJobPosition(id, text)).toEqual(given)
        expect(text.length).toBeLessThanOrEqual(200)
      }),
    )
  })

  it('is refused where it is another job’s, or nobody’s', () => {
    const id = randomUUID()
    const own = formatJobPosition(id, JOB_START)
    expect(() => parseJobPosition(randomUUID(), own)).toThrow('Last-Event-ID')
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(() => parseJobPosition(id, text)).toThrow('Last-Event-ID')
        expect(() => parseFeedPosition(text)).toThrow('Last-Event-ID')
      }),
    )
  })

  it('is a place in the audit trail for a feed', () => {
    const int64 = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)
    const place = fc.record({
      cluster: int64.map(String),
      xid: fc.bigInt(0n, 2n ** 63n - 1n),
      seq: fc.bigInt(0n, 10n ** 18n - 1n),
    })
    fc.assert(
      fc.property(place, (given) => {
        expect(parseFeedPosition(formatFeedPosition(given))).toEqual(given)
      }),
    )
    const at = { cluster: '1', xid: 9n, seq: 9n }
    expect(
      [{ ...at, xid: 8n, seq: 10n }, { ...at, seq: 8n }, at, { ...at, cluster: '0', xid: 1n }].map((a) =>
        isBehind(a, at),
      ),
    ).toEqual([...[true, true, false, false]])
  })
})
