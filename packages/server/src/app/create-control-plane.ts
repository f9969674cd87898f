import { FilesystemArtifactStore } from '../artifacts/filesystem-store.ts'
import type { HomePaths } from '../config/home-paths.ts'
import { exportAudit } from '../control/audit-export.ts'
import { countUnsealedRows, readSealedRanges } from '../control/audit-trail.ts'
import { findJobId } from '../control/find-job.ts'
import { listCallbacks } from '../control/callbacks.ts'
import { submitCall } from '../control/call-service.ts'
import { explainWait } from '../control/explain-wait.ts'
import { followOutput } from '../control/follow-output.ts'
import type { JobControl } from '../control/job-control.ts'
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

/** What can be asked of this machine's own stack without running anything: jobs, and what no server is asked. */
export interface ControlPlane extends JobControl {
  submitCall: Bound<typeof submitCall>
  listCallbacks: Bound<typeof listCallbacks>
  retryCallback: Bound<typeof retryCallback>
  createToken: Bound<typeof createToken>
  listTokens: Bound<typeof listTokens>
  revokeToken: Bound<typeof revokeToken>
  exportAudit: Bound<typeof exportAudit>
  readSealedRanges: Bound<typeof readSealedRanges>
  countUnsealedRows: Bound<typeof countUnsealedRows>
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
    followOutput: (id, from) => followOutput(db, id, from),
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
    openArtifact: (artifact) => store.read(typeof artifact === 'string' ? artifact : artifact.digest),
    whereIsArtifact: ({ digest }) => `path    ${store.pathOf(digest)}`,
    whereIsJob: (id) => `row          jobs.tb_job_run where id = '${id}'   (ergon jobs show ${id})`,
  }
}
