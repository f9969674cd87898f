import type { Readable } from 'node:stream'
import type { EnvironmentSummary } from '@ergon/contract'
import type { ByteRange } from '../artifacts/artifact-store.ts'
import type { JobWatcher } from './live/job-watcher.ts'
import type { StreamLimits } from './live/open-streams.ts'
import type { OpenWaits } from './live/open-waits.ts'
import type { FindOperation } from '../control/submission.ts'
import type { OpenRegistry } from '../control/registry-file.ts'
import type { DatabasePool } from '../platform/db/database.ts'
import type { Logger } from '../platform/logger.ts'
import type { FacadeRules } from './facade/facade-rules.ts'
import type { TokenDirectory } from './token-directory.ts'
import type { Turns } from './turns.ts'

/** All that routes use. Made in one place, by app/create-api.ts. */
export interface ApiContext {
  version: string
  pool: DatabasePool
  tokens: TokenDirectory
  watcher: JobWatcher
  /** Calls that wait for the end of a job. */
  waits: OpenWaits
  /** What looks through many rows takes turns, so that there are connections for the rest however long it takes. */
  lists: Turns
  logger: Logger
  /** The services of this API's registry, as they are now; null where it has none. */
  registry(): OpenRegistry | null
  /** Throws SERVICE_NOT_FOUND, OPERATION_NOT_FOUND or REGISTRY_NOT_FOUND. */
  findOperation: FindOperation
  listEnvironments(): Promise<EnvironmentSummary[]>
  /** The bytes of a digest; throws ARTIFACT_NOT_FOUND, and ends in ARTIFACT_CORRUPT before the last of bytes that are not its. */
  openArtifact(digest: string, range?: ByteRange): Promise<Readable>
  /** Null when the bytes are not here. */
  artifactSize(digest: string): Promise<number | null>
  /** Keeps a file of the spool under its digest; throws STORAGE_FULL. */
  storeArtifact(file: string, digest: string): Promise<void>
  /** Bytes that can still be stored, here and in the spool. */
  freeBytes(): Promise<number>
  /** A folder of this process alone, for uploads under way. */
  spool: string
  /** What addresses are signed with. */
  signingKey(): Promise<Buffer>
  /** The synchronous facade, or null where it is off. */
  facade: FacadeRules | null
  /** Origins whose pages may call, as browsers send them. */
  corsOrigins: readonly string[]
  /** Addresses whose X-Forwarded-For is believed. */
  trustedProxies: readonly string[]
  /** How many live streams there may be; by default as docs/api-live.md says. */
  streamLimits?: StreamLimits
  /** True once the API is about to stop. */
  isStopping(): boolean
}
