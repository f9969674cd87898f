/** What a worker's registry says of a service that concerns the whole fleet. Null: no such limit. */
export interface ServiceRegistration {
  service: string
  /** Names the lane of the service's jobs, whatever their rows say. */
  executionType: string
  /** Jobs at once, over all workers. */
  maxConcurrent: number | null
  /** Starts in any 60 seconds, over all workers; every attempt is one. */
  rateLimitPerMinute: number | null
  /** Starts in any hour, over all workers. */
  maxInvocationsPerHour: number | null
  /** US dollars that jobs of any hour may cost, as estimated, before no more are started, over all workers. */
  maxCostPerHour: number | null
}
