import { expect, it } from 'vitest'
import { describeUpstreamError } from './upstream-failure.ts'

it.each([
  [429, '', 'DEPENDENCY_ERROR/UPSTREAM_THROTTLED'],
  [400, 'ThrottlingException', 'DEPENDENCY_ERROR/UPSTREAM_THROTTLED'],
  [502, 'EC2ThrottledException', 'DEPENDENCY_ERROR/UPSTREAM_THROTTLED'],
  [408, '', 'DEPENDENCY_ERROR/UPSTREAM_STATUS'],
  [425, '', 'DEPENDENCY_ERROR/UPSTREAM_STATUS'],
  [500, 'ServiceException', 'DEPENDENCY_ERROR/UPSTREAM_STATUS'],
  [504, '', 'DEPENDENCY_ERROR/UPSTREAM_STATUS'],
  [0, '', 'DEPENDENCY_ERROR/UPSTREAM_PROTOCOL'],
  [101, '', 'DEPENDENCY_ERROR/UPSTREAM_PROTOCOL'],
  [302, '', 'USER_CODE_ERROR/HTTP_STATUS'],
  [403, 'AccessDeniedException', 'USER_CODE_ERROR/HTTP_STATUS'],
  [413, 'RequestTooLargeException', 'USER_CODE_ERROR/HTTP_STATUS'],
  [null, 'ENOTFOUND', 'DEPENDENCY_ERROR/UPSTREAM_DNS'],
  [null, 'ECONNRESET', 'DEPENDENCY_ERROR/UPSTREAM_CONNECTION'],
  [null, 'DEPTH_ZERO_SELF_SIGNED_CERT', 'DEPENDENCY_ERROR/UPSTREAM_TLS'],
  [null, 'UNEXPECTED_UPGRADE', 'DEPENDENCY_ERROR/UPSTREAM_PROTOCOL'],
  [null, 'TimeoutError', 'DEPENDENCY_ERROR/UPSTREAM_TIMEOUT'],
  [null, 'ADDRESS_DENIED', 'SANDBOX_VIOLATION/ADDRESS_DENIED'],
])('%j %s is %s', (statusCode, code, expected) => {
  const failure = describeUpstreamError({ asked: 'It', statusCode, code, message: 'm'.repeat(5_000) })
  expect(`${failure?.category}/${failure?.code}`).toBe(expected)
  expect(failure?.message.length).toBeLessThanOrEqual(1_000)
})

it('leaves what is neither of the network nor of a provider to others', () => {
  for (const code of ['AbortError', 'ABORT_ERR', 'TypeError', ''])
    expect(describeUpstreamError({ asked: 'It', statusCode: null, code, message: '' })).toBeNull()
})
