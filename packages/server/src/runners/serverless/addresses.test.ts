import { expect, it } from 'vitest'
import { awsHost } from './aws-credentials.ts'
import { audienceOf, functionUrl } from './gcp.ts'

it('makes the address of an AWS region', () => {
  expect(awsHost('lambda', 'eu-central-1')).toBe('lambda.eu-central-1.amazonaws.com')
  expect(awsHost('sts', 'cn-north-1')).toBe('sts.cn-north-1.amazonaws.com.cn')
  expect(awsHost('lambda', 'us-gov-west-1')).toBe('lambda.us-gov-west-1.amazonaws.com')
})

it('makes the address of a Google function, and knows whom its tokens are for', () => {
  const config = { provider: 'gcp', function_name: 'run', project: 'my-project', timeout: 1 } as const
  const url = functionUrl(config)
  expect(url.href).toBe('https://us-central1-my-project.cloudfunctions.net/run')
  expect(audienceOf(url)).toBe(url.href)
  const run = functionUrl({ ...config, endpoint: 'https://run-abc-ew.a.run.app/v1/x' })
  expect(run.href).toBe('https://run-abc-ew.a.run.app/v1/x')
  expect(audienceOf(run)).toBe('https://run-abc-ew.a.run.app')
})
