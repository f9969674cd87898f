import { expect, it } from 'vitest'
import { estimateCost } from './cost-estimate.ts'
import { readInvocation } from './invocation.ts'

const limits = { request: 100, event: 10, response: 100 }

it('sends a payload as it was written', () => {
  expect(readInvocation('{"payload": [1.0, 1e400, 12345678901234567890]}', limits)).toEqual({
    payloadJson: '[1.0,1e400,12345678901234567890]',
    isEvent: false,
  })
  expect(readInvocation(null, limits)).toEqual({ payloadJson: 'null', isEvent: false })
})

it.each([
  ['{"payload": 1, "function_name": "other"}', 'INPUT_INVALID'],
  ['{"payload": 1, "endpoint": "http://169.254.169.254"}', 'INPUT_INVALID'],
  ['{"invocation_type": "event"}', 'INPUT_INVALID'],
  ['[]', 'INPUT_INVALID'],
  [`{"payload": "${'é'.repeat(50)}"}`, 'PAYLOAD_TOO_LARGE'],
  ['{"payload": "123456789", "invocation_type": "Event"}', 'PAYLOAD_TOO_LARGE'],
])('refuses %s', (text, code) => {
  expect(readInvocation(text, limits)).toMatchObject({ category: 'VALIDATION_ERROR', code })
})

it('sends a payload of exactly as many bytes as there may be', () => {
  expect(readInvocation('{"payload": "12345678", "invocation_type": "Event"}', limits)).toMatchObject({ isEvent: true })
})

it('estimates a call by its price, its time and its memory', () => {
  const prices = { perGbSecond: 0.0000166667, perCall: 0.0000002 }
  expect(estimateCost(prices, { durationMs: 1_000, memoryMb: 1_024 })).toBe(0.0000168667)
  expect(estimateCost(prices, { durationMs: 1, memoryMb: 128 })).toBe(0.0000002021)
  expect(estimateCost(prices, { durationMs: 0, memoryMb: 128 })).toBe(0.0000002)
})
