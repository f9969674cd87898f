import type { Artifact, JobEndEvent, JobOutputEvent, JobProgressEvent, JobStatusEvent, JobView } from '@ergon/contract'
import type { SseMessage } from './sse-parser.ts'

/** What each event of a job carries. */
export interface JobEventData {
  status: JobStatusEvent
  progress: JobProgressEvent
  stdout: JobOutputEvent
  stderr: JobOutputEvent
  artifact: Artifact
  /** The job as it ended. */
  end: JobView
}

/** `id` is what `lastEventId` takes, in another process too. */
export type JobEvent = {
  [Name in keyof JobEventData]: { event: Name; id: string; data: JobEventData[Name] }
}[keyof JobEventData]

/** One line of the feed: an attempt of some job has ended. */
export interface FeedEvent {
  event: string
  id: string
  data: JobEndEvent
}

const JOB_EVENTS: Readonly<Record<keyof JobEventData, true>> = {
  status: true,
  progress: true,
  stdout: true,
  stderr: true,
  artifact: true,
  end: true,
}

/** Null for an event that a newer server has and this version does not know. */
export function toJobEvent({ event, id, data }: SseMessage, parseJson: (text: string) => unknown): JobEvent | null {
  return Object.hasOwn(JOB_EVENTS, event) ? ({ event, id, data: parseJson(data) } as JobEvent) : null
}

/** Null for what is not about a job. */
export function toFeedEvent({ event, id, data }: SseMessage, parseJson: (text: string) => unknown): FeedEvent | null {
  const parsed = parseJson(data)
  const isAboutJob = typeof parsed === 'object' && parsed !== null && 'job' in parsed
  return isAboutJob ? { event, id, data: parsed as JobEndEvent } : null
}
