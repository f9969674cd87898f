import { expect, it } from 'vitest'
import { describeUpstreamError } from './upstream-failure.ts'

it.each([
  [429, '', 'DEPENDENCY_ERROR/UPSTREAM_THROTTLED'],
  [400, 'ThrottlingException', 'DEPENDENCY_ERROR/UPSTREAM_THROTTLED'],
  [502, 'EC2ThrottledException', 'DEPENDENCY_ERROR/UPSTREAM_THROTTLED'],
  [408, '', 'DEPENDENCY_ERROR/UPSTREAM_UNAVAILABLE'],
  [425, '', 'DEPENDENCY_ERROR/UPSTREAM_UNAVAILABLE'],
  [500, 'ServiceException', 'DEPENDENCY_ERROR/UPSTREAM_UNAVAILABLE'],
  [504, '', 'DEPENDENCY_ERROR/UPSTREAM_UNAVAILABLE'],
  [302, '', 'USER_CODE_ERROR/UPSTREAM_REFUSED'],
  [403, 'AccessDeniedException', 'USER_CODE_ERROR/UPSTREAM_REFUSED'],
  [413, 'RequestTooLargeException', 'USER_CODE_ERROR/UPSTREAM_REFUSED'],
  [null, 'ENOTFOUND', 'DEPENDENCY_ERROR/UPSTREAM_UNREACHABLE'],
  [null, 'ECONNRESET', 'DEPENDENCY_ERROR/UPSTREAM_UNREACHABLE'],
  [null, 'DEPTH_ZERO_SELF_SIGNED_CERT', 'DEPENDENCY_ERROR/UPSTREAM_UNREACHABLE'],
  [null, 'TimeoutError', 'DEPENDENCY_ERROR/UPSTREAM_UNREACHABLE'],
  [null, 'ADDRESS_REFUSED', 'SANDBOX_VIOLATION/ADDRESS_REFUSED'],
])('%j %s is %s', (statusCode, code, expected) => {
  const failure = describeUpstreamError({ asked: 'It', statusCode, code, message: 'm'.repeat(5_000) })
  expect(`${failure?.category}/${failure?.code}`).toBe(expected)
  expect(failure?.message.length).toBeLessThanOrEqual(1_000)
})

it('leaves what is neither of the network nor of a provider to others', () => {
  for (const code of ['AbortError', 'ABORT_ERR', 'TypeError', ''])
    expect(describeUpstreamError({ asked: 'It', statusCode: null, code, message: '' })).toBeNull()
})
