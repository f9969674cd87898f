import { expect, it } from 'vitest'
import { innerRetryDelayMs, type RetryQuestion } from './retry-schedule.ts'

const retries = { maxRetries: 3, backoffSeconds: 0.5, statusCodes: new Set([429, 503]) }
const NOW = Date.parse('Sun, 06 Nov 1994 08:49:37 GMT')
const question: RetryQuestion = {
  statusCode: 503,
  retryAfter: null,
  retriesDone: 0,
  remainingMs: 60_000,
  nowMs: NOW,
  random: 1,
}

it.each([
  ['the first wait', {}, 500],
  ['each is twice the one before', { retriesDone: 2 }, 2_000],
  ['at least half of it by chance', { random: 0 }, 250],
  ['a connection that failed', { statusCode: null }, 500],
  ['a status that is not listed', { statusCode: 500 }, null],
  ['no more than stated', { retriesDone: 3 }, null],
  ['seconds that are asked for', { retryAfter: ' 7 ' }, 7_000],
  ['fewer seconds than ours', { retryAfter: '0' }, 500],
  ['a date', { retryAfter: 'Sun, 06 Nov 1994 08:49:47 GMT' }, 10_000],
  ['a date that is past', { retryAfter: 'Sun, 06 Nov 1994 08:00:00 GMT' }, 500],
  ['longer than there is time', { retryAfter: '60' }, null],
  ['for ever', { retryAfter: '999999999' }, null],
  ['nonsense', { retryAfter: '-5, tomorrow' }, 500],
  ['a number that is none', { retryAfter: '1e3' }, 500],
])('%s', (_name, change: Partial<RetryQuestion>, delayMs) => {
  expect(innerRetryDelayMs({ ...question, ...change }, retries)).toBe(delayMs)
})
