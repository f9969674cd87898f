/** The name of a job and the proof that the database still counts it as ours: writes with another fence change nothing. */
export interface JobClaim {
  id: string
  fence: string
}

/** A job as a worker receives it. JSON stays text, so that no number passes through a double. Times are the database's. */
export interface ClaimedJob extends JobClaim {
  /** From 1. */
  attempt: number
  maxAttempts: number
  lane: string
  serviceName: string
  operation: string
  executionType: string
  inputJson: string | null
  runnerConfigJson: string | null
  tenantId: string | null
  triggeredBy: string | null
  correlationId: string | null
  entityType: string | null
  entityPk: string | null
  timeoutSeconds: number
  /** When the database takes the job away: time-out plus a grace of 30 s. */
  deadline: Date
  securityContextJson: string | null
  traceparent: string | null
  executionKey: string | null
  createdAt: Date | null
  projectId: string | null
  documentId: string | null
  documentRevisionId: string | null
  targetObjectId: string | null
}

/** What is written beside a verdict. A null stream is not touched; an empty one removes what was written live. */
export interface AttemptRecord {
  outputJson: string | null
  /** The resource_usage column, key by key. */
  resourceUsage: object | null
  envVersion: string | null
  logs: readonly { level: string; message: string }[] | null
  stdout: string | null
  stderr: string | null
  artifacts: readonly ArtifactRecord[]
  /** The attempt's entry of the audit trail, written in the same statement if the outcome counts. */
  auditEntry?: string
}

/** A stored file as it is registered: the contract's artifact without the uri, which follows from the digest. */
export interface ArtifactRecord {
  artifact_id: string
  kind: string
  format: string
  digest: string
  size_bytes: number
  content_type: string
  metadata: { name: string; width: number | null; height: number | null }
}
