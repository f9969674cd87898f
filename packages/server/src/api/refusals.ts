import { problemSchema } from '@ergon/contract'

/** What a route's documentation says of its refusals: all have one shape. */
export function refusals<Status extends number>(...statuses: Status[]): Record<Status, typeof problemSchema> {
  return Object.fromEntries(statuses.map((status) => [status, problemSchema])) as Record<Status, typeof problemSchema>
}
