interface CatalogueEntry {
  /** Exit code of a CLI command: 2 for a wrong call, 3 for a host or service that is not there, 4 for a fault of ours. */
  exitCode: 2 | 3 | 4
  /** HTTP status the API answers with. */
  httpStatus: number
  /** One sentence for docs/errors.md. */
  summary: string
}

/** Every code a person can meet. Codes are never reused; a test keeps docs/errors.md in step. */
export const ERROR_CATALOGUE = {
  INTERNAL: {
    exitCode: 4,
    httpStatus: 500,
    summary: 'A fault of Ergon itself.',
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
  ENVIRONMENT_DEFINITION_INVALID: { exitCode: 2, httpStatus: 422, summary: 'The YAML file that describes an environment cannot be read or breaks a rule; the message names file, line and column.' },
  ENVIRONMENT_NOT_FOUND: { exitCode: 2, httpStatus: 404, summary: 'No environment of this name or version is built here; `ergon env build NAME` builds it.' },
  ENVIRONMENT_BUILD_FAILED: { exitCode: 3, httpStatus: 503, summary: 'An environment could not be built; the message ends with the last lines of the package installer.' },
  ENVIRONMENT_LOCK_MISMATCH: { exitCode: 3, httpStatus: 409, summary: 'A build cannot reproduce the lock it was given; the message lists the packages that differ.' },
} as const satisfies Record<string, CatalogueEntry>
export type ErrorCode = keyof typeof ERROR_CATALOGUE
