import type { CatalogueEntry } from './catalogue-entry.ts'

/** What the API refuses a request for, whatever it is about. */
export const REQUEST_ERRORS = {
  BODY_INVALID: {
    exitCode: 2,
    httpStatus: 400,
    summary: 'The body of a request is not JSON in UTF-8, or is nested too deeply.',
  },
  BODY_TOO_LARGE: {
    exitCode: 2,
    httpStatus: 413,
    summary: 'The body of a request is larger than its route takes.',
  },
  MEDIA_TYPE_UNSUPPORTED: {
    exitCode: 2,
    httpStatus: 415,
    summary: 'The body of a request has another media type than its route takes.',
  },
  REQUEST_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A part of a request does not match its schema, or has a field that there is not.',
  },
  ROUTE_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 404,
    summary: 'The API has nothing of that method and path.',
  },
  TOKEN_REQUIRED: {
    exitCode: 2,
    httpStatus: 401,
    summary: 'A request has no bearer token.',
  },
  TOKEN_INVALID: {
    exitCode: 2,
    httpStatus: 401,
    summary: 'A bearer token is unknown, altered, expired or revoked.',
  },
  TOKEN_NOT_FOUND: {
    exitCode: 2,
    httpStatus: 404,
    summary: 'No token of that id, or it was revoked before.',
  },
  SCOPE_MISSING: {
    exitCode: 2,
    httpStatus: 403,
    summary: 'The token may not do this.',
  },
  TENANT_MISMATCH: {
    exitCode: 2,
    httpStatus: 403,
    summary: 'A request names another tenant than its token is bound to.',
  },
  FACADE_CLOSED: {
    exitCode: 2,
    httpStatus: 403,
    summary:
      'A request without a token to the synchronous facade that is not from this machine, or from a page that may not call.',
  },
  EXECUTOR_BUSY: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'As many executions of the synchronous facade as one API process takes are under way.',
  },
  EXECUTOR_UNAVAILABLE: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'No worker took a job of the synchronous facade in time; it was cancelled.',
  },
  EXECUTION_ABANDONED: {
    exitCode: 3,
    httpStatus: 500,
    summary: 'A job of the synchronous facade was gone, or had not ended long after its time; it was cancelled.',
  },
  RATE_LIMITED: {
    exitCode: 3,
    httpStatus: 429,
    summary: 'More requests in a minute than the token, or the address, may make, or more lists that wait.',
  },
  IDEMPOTENCY_KEY_REUSED: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'The idempotency key was used for another request in the last 24 hours.',
  },
  SIGNATURE_INVALID: {
    exitCode: 2,
    httpStatus: 403,
    summary: 'A signed address is altered, has expired, or is that of another artifact.',
  },
  RANGE_NOT_SATISFIABLE: {
    exitCode: 2,
    httpStatus: 416,
    summary: 'The range that is asked for lies beyond the end of the artifact.',
  },
  ARTIFACT_GONE: {
    exitCode: 2,
    httpStatus: 410,
    summary: 'The artifact is known, and its bytes are not here: pruned, or on another machine.',
  },
  DIGEST_MISMATCH: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'The bytes that came are not those whose digest was announced.',
  },
  CURSOR_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'The cursor of a page is not one that the API gave.',
  },
  EVENT_ID_INVALID: {
    exitCode: 2,
    httpStatus: 422,
    summary: 'A Last-Event-ID is not one that a stream of the same address gave.',
  },
  TOO_MANY_STREAMS: {
    exitCode: 3,
    httpStatus: 429,
    summary: 'The token has as many open streams as one may have.',
  },
  STREAMS_EXHAUSTED: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'The API process has as many open streams as it may have, or is about to stop.',
  },
  TOO_MANY_WAITS: {
    exitCode: 3,
    httpStatus: 429,
    summary: 'As many calls of the token as may wait for the end of a job do so.',
  },
  WAITS_EXHAUSTED: {
    exitCode: 3,
    httpStatus: 503,
    summary: 'As many calls wait for the end of a job as may in the API process.',
  },
  JOB_NOT_FAILED: {
    exitCode: 2,
    httpStatus: 409,
    summary: 'Only a failed job can be tried again.',
  },
} as const satisfies Record<string, CatalogueEntry>
