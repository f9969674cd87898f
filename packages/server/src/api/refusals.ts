import { problemSchema } from '@ergon/contract'

interface Refusal {
  description: string
  content: { 'application/problem+json': { schema: typeof problemSchema } }
}

const MEANINGS: Readonly<Record<number, string>> = {
  400: 'The body cannot be read',
  401: 'No token, or one that is not good',
  403: 'The token, or the signed address, does not allow this',
  404: 'There is no such thing, or it is of another tenant',
  409: 'Its state does not allow this',
  410: 'Its bytes are not kept any more',
  413: 'The body is too large',
  415: 'The body has a media type that is not taken',
  416: 'It does not have that range',
  422: 'A part of the request does not fit',
  429: 'Too many requests, or too many uploads or waiting calls at a time',
  503: 'There is no room left, or the database does not answer',
}

/** What a route's documentation says of its refusals: all have one shape. */
export function refusals<Status extends number>(...statuses: Status[]): Record<Status, Refusal> {
  const refusal = (status: Status): Refusal => ({
    description: MEANINGS[status] ?? 'Refused',
    content: { 'application/problem+json': { schema: problemSchema } },
  })
  return Object.fromEntries(statuses.map((status) => [status, refusal(status)])) as Record<Status, Refusal>
}
