import type { Readable } from 'node:stream'
import { FilesystemArtifactStore } from '../artifacts/filesystem-store.ts'
import type { HomePaths } from '../config/home-paths.ts'
import { exportAudit } from '../control/audit-export.ts'
import { countUnsealedRows, readSealedRanges } from '../control/audit-trail.ts'
import { findJobId } from '../control/find-job.ts'
import { listCallbacks } from '../control/callbacks.ts'
import { submitCall } from '../control/call-service.ts'
import { explainWait } from '../control/explain-wait.ts'
import { findArtifact, listArtifacts, readJob } from '../control/read-job.ts'
import { listJobs } from '../control/list-jobs.ts'
import { readOutput } from '../control/read-output.ts'
import { submitPayload, uploadDataset } from '../control/submit-job.ts'
import { createToken, listTokens, revokeToken } from '../control/tokens.ts'
import type { Database } from '../platform/db/database.ts'
import { retryCallback } from '../queue/callbacks.ts'
import { cancelJob } from '../queue/cancel.ts'
import { retryJob } from '../queue/retry.ts'

type Bound<F> = F extends (db: Database, ...rest: infer Rest) => infer Result ? (...rest: Rest) => Result : never

/** What a platform can ask of Ergon without running anything: submit, read, cancel. Command line and API share it. */
export interface ControlPlane {
  submitPayload: Bound<typeof submitPayload>
  /** A job is named by its id or its identifier. */
  findJobId: Bound<typeof findJobId>
  submitCall: Bound<typeof submitCall>
  readJob: Bound<typeof readJob>
  explainWait: Bound<typeof explainWait>
  readOutput: Bound<typeof readOutput>
  listJobs: Bound<typeof listJobs>
  cancelJob: Bound<typeof cancelJob>
  retryJob: Bound<typeof retryJob>
  listCallbacks: Bound<typeof listCallbacks>
  retryCallback: Bound<typeof retryCallback>
  listArtifacts: Bound<typeof listArtifacts>
  findArtifact: Bound<typeof findArtifact>
  createToken: Bound<typeof createToken>
  listTokens: Bound<typeof listTokens>
  revokeToken: Bound<typeof revokeToken>
  exportAudit: Bound<typeof exportAudit>
  readSealedRanges: Bound<typeof readSealedRanges>
  countUnsealedRows: Bound<typeof countUnsealedRows>
  /** Stores a file as a dataset of the tenant and gives its digest. */
  uploadDataset(file: string, tenantId: string | null): Promise<string>
  openArtifact(digest: string): Promise<Readable>
  /** Where a digest's file lies on this machine. */
  artifactPath(digest: string): string
}

export function createControlPlane(db: Database, paths: HomePaths): ControlPlane {
  const store = new FilesystemArtifactStore(paths.artifacts)
  return {
    submitPayload: (payload) => submitPayload(db, payload),
    findJobId: (reference) => findJobId(db, reference),
    submitCall: (operation, inputJson) => submitCall(db, operation, inputJson),
    readJob: (id) => readJob(db, id),
    explainWait: (id) => explainWait(db, id),
    readOutput: (id, from) => readOutput(db, id, from),
    listJobs: (filter) => listJobs(db, filter),
    cancelJob: (id) => cancelJob(db, id),
    retryJob: (id) => retryJob(db, id),
    listCallbacks: (filter) => listCallbacks(db, filter),
    retryCallback: (id) => retryCallback(db, id),
    listArtifacts: (jobId, limit) => listArtifacts(db, jobId, limit),
    findArtifact: (id) => findArtifact(db, id),
    createToken: (token) => createToken(db, token),
    listTokens: () => listTokens(db),
    revokeToken: (id) => revokeToken(db, id),
    exportAudit: (since) => exportAudit(db, since),
    readSealedRanges: (since) => readSealedRanges(db, since),
    countUnsealedRows: () => countUnsealedRows(db),
    uploadDataset: (file, tenantId) => uploadDataset(db, store, file, tenantId),
    openArtifact: (digest) => store.read(digest),
    artifactPath: (digest) => store.pathOf(digest),
  }
}
