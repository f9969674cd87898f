import type { CatalogueEntry } from './catalogue-entry.ts'
import { REQUEST_ERRORS } from './request-errors.ts'

/** Every code a person can meet. Codes are never reused; a test keeps docs/errors.md in step. */
export const ERROR_CATALOGUE = {
  ...REQUEST_ERRORS,
  INTERNAL: {
    exitCode: 4,
    httpStatus: 500,
    summary: 'A fault of Ergon itself.',
  },
  SERVER_UNREACHABLE: {
    exitCode: 3,
    httpStatus: 502,
    summary: 'The server that ERGON_URL names does not answer, or what answers is no API of Ergon.',
  },
  OWN_STACK_NEEDED: {
    exitCode: 2,
    httpStatus: 422,
    summary:
      'A command, or what was asked of it, works with the stack of this machine alone, and ERGON_URL names a server.',
  },
  USAGE: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A command was called with words it does not take.',
  },
  CONFIG_INVALID: {
    exitCode: 2,
    httpStatus: 500,
    summary: 'A setting has a value that cannot be used.',
  },
  FILE_UNREADABLE: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A file named by the user cannot be read.',
  },
  FILE_UNWRITABLE: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A file named by the user cannot be written.',
  },
  PAYLOAD_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A job payload does not match the job contract.',
  },
  PARAMETER_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A parameter is not of the form NAME=JSON.',
  },
  LIMIT_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A limit is not a number in its range.',
  },
  RUNTIME_UNKNOWN: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'No runtime adapter of that name exists.',
  },
  RUNNER_NOT_REGISTERED: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'No runner serves that execution type.',
  },
  SERVICE_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'No service of that name is in the registry.',
  },
  OPERATION_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'The service has no operation of that name.',
  },
  REGISTRY_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 503,
    summary: 'No service registry is named, or its file cannot be read.',
  },
  REGISTRY_EMPTY: {
    exitCode: 2,
    httpStatus: 503,
    summary: 'A service registry lists no service.',
  },
  REGISTRY_INVALID: {
    exitCode: 2,
    httpStatus: 503,
    summary: 'A service registry has faults; the message lists each with file, line, column and path.',
  },
  ENTITY_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'An entity file cannot be compiled; the message lists each fault with file, line, column and path.',
  },
  COMPILED_STALE: {
    exitCode: 2,
    httpStatus: 409,
    summary: 'Compiled files are not what their entity files compile to now; `ergon compile` writes them anew.',
  },
  ENTITY_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 404,
    summary: 'A compiled function was called for a row that does not exist.',
  },
  JOB_EXISTS: {
    exitCode: 2,
    httpStatus: 409,
    summary:
      'There is another job of that id or identifier; of a step with `on_conflict: error`: it was called before.',
  },
  INPUT_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'The input of an operation does not match its input_schema; the message names the place.',
  },
  SCHEMA_OUTDATED: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'The database lacks migrations of this version of Ergon.',
  },
  JOB_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 404,
    summary: 'No job has that id.',
  },
  JOB_FINISHED: {
    exitCode: 2,
    httpStatus: 409,
    summary: 'The job has ended and cannot be changed any more.',
  },
  ARTIFACT_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 404,
    summary: 'No artifact has that id or digest.',
  },
  ARTIFACT_CORRUPT: {
    exitCode: 3,
    httpStatus: 500,
    summary: 'Stored bytes are not those that their digest names.',
  },
  ARTIFACT_DIGEST_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A digest is not "sha256:" and 64 hexadecimal digits.',
  },
  STORAGE_FULL: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'The spool or the artifact store has no room left; jobs are retried.',
  },
  ALREADY_RUNNING: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'Another process of the same ERGON_HOME does this already.',
  },
  HOST_CANNOT_ISOLATE: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'The host lacks something that the sandbox needs; ergon doctor says what.',
  },
  PROCESS_FAILED: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'A process that Ergon started ended before it was ready.',
  },
  ENVIRONMENT_DEFINITION_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary:
      'The YAML file that describes an environment cannot be read or breaks a rule; the message names file, line and column.',
  },
  EXAMPLE_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 404,
    summary: 'There is no example of this name, or its files were not installed; `ergon examples list` shows all.',
  },
  ENVIRONMENT_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 404,
    summary: 'No environment of this name or version is built here; `ergon env build NAME` builds it.',
  },
  ENVIRONMENT_BUILD_FAILED: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'An environment could not be built; the message ends with the last lines of the package installer.',
  },
  ENVIRONMENT_LOCK_MISMATCH: {
    exitCode: 3,
    httpStatus: 409,
    summary: 'A build cannot reproduce the lock it was given; the message lists the packages that differ.',
  },
  DATABASE_UNREACHABLE: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'PostgreSQL does not answer; the message says where it was looked for.',
  },
  DATABASE_REFUSED: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'PostgreSQL refused the user, the password or the database name.',
  },
  DATABASE_TOO_OLD: { exitCode: 3, httpStatus: 503, summary: 'The PostgreSQL server is older than version 15.' },
  DATABASE_USER_MISSING: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'Root cannot run the embedded PostgreSQL, and the OS user that should does not exist.',
  },
  DATABASE_FOLDER_UNUSABLE: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'The folder of the embedded PostgreSQL cannot be entered or belongs to somebody else.',
  },
  DATABASE_START_FAILED: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'The embedded PostgreSQL did not start; the message ends with the last lines of its log.',
  },
  DATABASE_SOCKET_PATH_TOO_LONG: {
    exitCode: 2,
    httpStatus: 503,
    summary: 'ERGON_HOME is so deep that a unix socket below it would exceed the 107 bytes the kernel allows.',
  },
  MIGRATION_FROM_NEWER_VERSION: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'The database was migrated by a newer Ergon than this one.',
  },
  MIGRATION_CHANGED: {
    exitCode: 4,
    httpStatus: 503,
    summary: 'The file of an applied migration is not the one that was applied.',
  },
  MIGRATION_FAILED: { exitCode: 3, httpStatus: 503, summary: 'A migration failed and was rolled back.' },
  ADOPTION_INCOMPATIBLE: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'An existing jobs.tb_job_run has columns of types that Ergon cannot take over.',
  },
  INPUT_TOO_LARGE: { exitCode: 2, httpStatus: 422, summary: 'A value of a job is larger than its column allows.' },
  INVALID_LIMIT: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'The max_attempts or timeout_seconds of a job is out of its range.',
  },
  IDENTIFIER_TAKEN: { exitCode: 2, httpStatus: 409, summary: 'A job of another tenant has the same identifier.' },
  ILLEGAL_TRANSITION: {
    exitCode: 2,
    httpStatus: 409,
    summary: 'A job cannot go from its status to the one asked for.',
  },
  IMMUTABLE_COLUMN: {
    exitCode: 2,
    httpStatus: 409,
    summary: 'A column of a job was changed that cannot be changed in its status.',
  },
  ARTIFACT_IMMUTABLE: { exitCode: 2, httpStatus: 409, summary: 'The row of an artifact was changed.' },
  CALLBACK_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A callback cannot be registered: no such function, the wrong parameters, or a right that is missing.',
  },
  CALLBACK_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 404,
    summary: 'No callback with that number is owed: it ran, or there never was one.',
  },
  CALLBACK_RUNNING: { exitCode: 2, httpStatus: 409, summary: 'A worker runs the callback at this moment.' },
  AUDIT_IMMUTABLE: {
    exitCode: 2,
    httpStatus: 409,
    summary: 'Somebody tried to change or remove rows of the audit trail.',
  },
  AUDIT_UNWRITABLE: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'A job with exceptions from its isolation was not run, because the audit trail could not be written.',
  },
  SIGNING_KEY_INVALID: {
    exitCode: 2,
    httpStatus: 500,
    summary: 'The signing key is missing, is no Ed25519 key in PEM, or can be read by other users.',
  },
  TOO_MANY_SERVICES: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A worker registers more services than the database takes of one.',
  },
  WORKER_UNKNOWN: { exitCode: 3, httpStatus: 409, summary: 'The worker is not registered, or was lost and removed.' },
  WORKER_DRAINING: { exitCode: 3, httpStatus: 409, summary: 'A draining worker tried to claim.' },
  LANE_NOT_REGISTERED: {
    exitCode: 4,
    httpStatus: 409,
    summary: 'A worker tried to claim from a lane that it did not register.',
  },
} as const satisfies Record<string, CatalogueEntry>
export type ErrorCode = keyof typeof ERROR_CATALOGUE
