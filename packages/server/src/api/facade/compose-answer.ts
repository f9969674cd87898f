import type { Artifact, ExecuteAnswer, ExecuteArtifact, Failure, FailureCategory, JobView } from '@ergon/contract'

const MAX_STREAM_CHARACTERS = 20_000
const MAX_ARTIFACTS = 20
const MAX_INLINE_BYTES = 8 * 1024 * 1024

/** What the facade's clients know of formats; every other file is data. */
const TYPES: Readonly<Record<string, { type: ExecuteArtifact['type']; mimeType: string }>> = {
  png: { type: 'image', mimeType: 'image/png' },
  jpeg: { type: 'image', mimeType: 'image/jpeg' },
  svg: { type: 'image', mimeType: 'image/svg+xml' },
  gif: { type: 'image', mimeType: 'image/gif' },
  txt: { type: 'text', mimeType: 'text/plain' },
  csv: { type: 'text', mimeType: 'text/csv' },
  json: { type: 'json', mimeType: 'application/json' },
}
const OTHER = { type: 'data', mimeType: 'application/octet-stream' } as const

/** A file of the answer: with the digest of the bytes where they go with it. */
export interface ShownArtifact {
  shown: Omit<ExecuteArtifact, 'dataUrl'>
  inlineDigest: string | null
}

export interface Answer {
  httpStatus: 200 | 500 | 503
  /** Without its artifacts, whose bytes are still in the store. */
  body: Omit<ExecuteAnswer, 'artifacts'>
  artifacts: ShownArtifact[]
}

/** The facade's answer on a job that has ended. */
export function composeAnswer(job: JobView): Answer {
  const failure = job.error ?? null
  if (job.status === 'SUCCEEDED') return answer(job, { httpStatus: 200, exitCode: 0, errorCategory: null })
  if (failure === null) return ours(job, 500, `it is ${job.status}`)
  switch (failure.category) {
    case 'INTERNAL_ERROR':
      return ours(job, ranNothing(failure) ? 503 : 500, failure.code)
    // The caller wrote the code and nothing else of the job, so it is the service that does not take it.
    case 'VALIDATION_ERROR':
      return ours(job, 503, failure.code)
    default:
      return answer(job, { httpStatus: 200, exitCode: exitCodeOf(failure), errorCategory: failure.category })
  }
}

/** A text cut at a number of characters, which are code points: half a pair of surrogates is never left. */
export function cutText(text: string, most = MAX_STREAM_CHARACTERS): string {
  if (text.length <= most) return text
  const characters = Array.from(text)
  if (characters.length <= most) return text
  return `${characters.slice(0, most).join('')}\n…[truncated, ${characters.length - most} more chars]`
}

interface Conclusion {
  httpStatus: 200 | 500 | 503
  exitCode: number | null
  errorCategory: FailureCategory | null
}

function answer(job: JobView, { httpStatus, exitCode, errorCategory }: Conclusion): Answer {
  const stderr = job.outputs.stderr ?? ''
  return {
    httpStatus,
    body: {
      executionId: job.job_id,
      status: errorCategory === null ? 'success' : 'error',
      stdout: cutText(job.outputs.stdout ?? ''),
      // What was killed has often said nothing: then the verdict does.
      stderr: cutText(stderr === '' ? (job.error?.message ?? '') : stderr),
      exitCode,
      durationMs: job.duration_ms ?? 0,
      errorCategory,
    },
    artifacts: job.artifacts
      .toSorted(byName)
      .slice(0, MAX_ARTIFACTS)
      .map((artifact) => ({
        shown: {
          artifactId: artifact.artifact_id,
          ...(TYPES[artifact.format] ?? OTHER),
          filename: artifact.metadata.name,
          sizeBytes: artifact.size_bytes,
        },
        inlineDigest: artifact.size_bytes > MAX_INLINE_BYTES ? null : artifact.digest,
      })),
  }
}

/** A failure that is not the code's. Its message may name folders and hosts, its code does not. */
function ours(job: JobView, httpStatus: 500 | 503, code: string): Answer {
  const stderr = `The code was not run to its end: ${code}. \`ergon jobs show ${job.job_id}\` says more.`
  return {
    httpStatus,
    body: { ...errorBody('INTERNAL_ERROR', stderr), executionId: job.job_id },
    artifacts: [],
  }
}

/** An answer on what never became a job. */
export function errorBody(errorCategory: FailureCategory, stderr: string): ExecuteAnswer {
  return {
    executionId: '',
    status: 'error',
    stdout: '',
    stderr,
    exitCode: null,
    durationMs: 0,
    errorCategory,
    artifacts: [],
  }
}

/** A sandbox that could not be made, unlike one that was lost. */
function ranNothing({ code }: Failure): boolean {
  return (code.startsWith('SANDBOX_') && code !== 'SANDBOX_LOST') || code === 'STORAGE_FULL'
}

/** Details are there where the program ended by itself; without a number, by an exception, which Python ends with 1. */
function exitCodeOf({ details }: Failure): number | null {
  return details === null ? null : (details.exit_code ?? 1)
}

/** As Python sorts: by code points, in which bytes of UTF-8 agree. */
function byName(one: Artifact, other: Artifact): number {
  return Buffer.compare(Buffer.from(one.metadata.name), Buffer.from(other.metadata.name))
}
