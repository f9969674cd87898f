import { z } from 'zod'
import { FAILURE_CATEGORIES } from '../failure.ts'

/** Longest program of the facade, in characters (code points, as Python counts them). */
const EXECUTE_CODE_MAX = 200_000

const timeout = z.number().int().min(1).max(60)

/** What `POST /execute/python` takes. Fields that it does not know are left alone: its clients are older than it. */
export const executeRequestSchema = z
  .looseObject({
    code: z
      .string()
      .min(1, 'expected at least one character')
      .superRefine((code, context) => {
        const problem = findCodeProblem(code)
        if (problem !== null) context.addIssue({ code: 'custom', message: problem })
      }),
    timeoutSeconds: z.exactOptional(timeout).describe('Wall-clock limit of the code; 10 unless it is said'),
    timeout_seconds: z.exactOptional(timeout).describe('The same; timeoutSeconds comes before it'),
  })
  .meta({ id: 'ExecuteRequest' })

function findCodeProblem(code: string): string | null {
  const length = code.length - (code.match(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g)?.length ?? 0)
  if (length > EXECUTE_CODE_MAX) return `expected at most ${EXECUTE_CODE_MAX} characters, it has ${length}`
  const nul = code.indexOf('\0')
  if (nul >= 0) return `it has the character U+0000 at position ${nul}, which no Python program can have`
  if (!code.isWellFormed()) return 'it has half of a surrogate pair, which is no character'
  return null
}

const artifactSchema = z.object({
  artifactId: z.uuid(),
  type: z.enum(['image', 'text', 'json', 'data']),
  mimeType: z.string(),
  filename: z.string(),
  sizeBytes: z.number().int(),
  dataUrl: z.string().nullable().describe('Null for a file of more than 8 MiB'),
})
export type ExecuteArtifact = z.infer<typeof artifactSchema>

/** The answer of `POST /execute/python`, whatever its status. */
export const executeAnswerSchema = z
  .object({
    executionId: z.union([z.uuid(), z.literal('')]).describe('The id of the job; empty where there is none'),
    status: z.enum(['success', 'error']),
    stdout: z.string(),
    stderr: z.string(),
    exitCode: z.number().int().nullable(),
    durationMs: z.number().int(),
    errorCategory: z.enum(FAILURE_CATEGORIES).nullable(),
    artifacts: z.array(artifactSchema),
  })
  .meta({ id: 'ExecuteAnswer' })
export type ExecuteAnswer = z.infer<typeof executeAnswerSchema>

export const executorHealthSchema = z
  .discriminatedUnion('status', [
    z.object({ status: z.literal('ok'), backend: z.string() }),
    z.object({ status: z.literal('unavailable'), backend: z.string(), reason: z.string() }),
  ])
  .meta({ id: 'ExecutorHealth' })
export type ExecutorHealth = z.infer<typeof executorHealthSchema>
