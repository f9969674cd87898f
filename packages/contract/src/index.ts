export {
  ARTIFACT_FORMATS,
  ARTIFACT_KINDS,
  type Artifact,
  type ArtifactFormat,
  type ArtifactKind,
  artifactSchema,
  artifactUri,
  digestSchema,
} from './artifact.ts'
export { EXECUTION_TYPES, type ExecutionType } from './execution-type.ts'
export {
  type Evidence,
  evidenceSchema,
  FAILURE_CATEGORIES,
  type Failure,
  type FailureCategory,
  type FailureDetails,
  failureSchema,
} from './failure.ts'
export { ISOLATIONS, type Isolation } from './isolation.ts'
export {
  JOB_TYPES,
  type JobPayload,
  type JobPayloadInput,
  type JobType,
  jobPayloadSchema,
  SCHEMA_MAJOR,
  SCHEMA_VERSION,
} from './job-payload.ts'
export { type JobResult, jobResultSchema } from './job-result.ts'
export { DEFAULT_JOB_LIMITS, type JobLimits, limitsSchema } from './limits.ts'
export {
  CONTRACT_STATUSES,
  type ContractStatus,
  hasEnded,
  JOB_STATUSES,
  type JobStatus,
  toContractStatus,
} from './status.ts'
export {
  type JobFilter,
  jobFilterSchema,
  type JobPage,
  jobPageSchema,
  type JobSummary,
  jobSummarySchema,
  type JobView,
  jobViewSchema,
  MAX_BATCH,
  MAX_WAIT_SECONDS,
  type ServiceCall,
  serviceCallSchema,
  submitBatchSchema,
  type SubmitRequest,
  submitRequestSchema,
} from './api/job.ts'
export {
  JOB_ENDS,
  type JobEndEvent,
  jobEndEventSchema,
  type JobFeedFilter,
  jobFeedFilterSchema,
  type JobOutputEvent,
  jobOutputEventSchema,
  type JobProgressEvent,
  jobProgressEventSchema,
  type JobStatusEvent,
  jobStatusEventSchema,
} from './api/live.ts'
export {
  type ExecuteAnswer,
  executeAnswerSchema,
  type ExecuteArtifact,
  executeRequestSchema,
  type ExecutorHealth,
  executorHealthSchema,
} from './api/facade.ts'
export {
  artifactListSchema,
  type Dataset,
  datasetSchema,
  MAX_DATASET_BYTES,
  MAX_SIGNED_SECONDS,
  SIGNED_SECONDS,
  type SignedUrl,
  signedUrlRequestSchema,
  signedUrlSchema,
} from './api/artifact.ts'
export { type JobLogs, jobLogsSchema, MAX_LOG_BYTES } from './api/job-logs.ts'
export {
  type QueueStatistics,
  queueStatisticsSchema,
  workerListSchema,
  workerSchema,
  type WorkerSummary,
} from './api/operations.ts'
export {
  environmentListSchema,
  type EnvironmentSummary,
  type ServiceDescription,
  serviceListSchema,
  serviceSchema,
  type ServiceSummary,
} from './api/service.ts'
export { type Problem, problemSchema } from './api/problem.ts'
export { TOKEN_PATTERN, TOKEN_SCOPES, type TokenScope, tokenScopeSchema } from './api/token.ts'
export { CALLBACK_STATES, type Callback, callbackSchema, type CallbackState } from './api/callback.ts'
