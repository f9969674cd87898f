export { ErgonApiError, ErgonConnectionError, type ErrorPlaces } from './api-error.ts'
export {
  type CallOptions,
  ErgonClient,
  type ErgonClientOptions,
  type StreamOptions,
  type SubmitOneOptions,
  type SubmitOptions,
} from './client.ts'
export type { FeedEvent, JobEvent, JobEventData } from './events.ts'
