import { z } from 'zod'

/** The closed list of reasons a job can fail for. What each means and when it is retried: docs/job-contract.md. */
export const FAILURE_CATEGORIES = [
  'USER_CODE_ERROR',
  'VALIDATION_ERROR',
  'RESOURCE_LIMIT',
  'SANDBOX_VIOLATION',
  'DEPENDENCY_ERROR',
  'INTERNAL_ERROR',
] as const
export const failureCategorySchema = z.enum(FAILURE_CATEGORIES)
export type FailureCategory = z.infer<typeof failureCategorySchema>

/** One kernel or supervisor counter that decided a verdict; limit and observed are in the counter's own unit. */
export const evidenceSchema = z.object({
  counter: z.string(),
  limit: z.number().nullable(),
  observed: z.number().nullable(),
})
export type Evidence = z.infer<typeof evidenceSchema>

/** Where in the user's program an error arose. Untrusted text, bounded by the supervisor; never decides a limit verdict. */
const failureDetailsSchema = z.object({
  traceback: z.string().nullable(),
  line: z.number().int().nullable(),
  column: z.number().int().nullable(),
  /** What the program left with, or the other side answered; a service's `retry` section may list it. */
  exit_code: z.number().int().exactOptional(),
  status_code: z.number().int().exactOptional(),
})
export type FailureDetails = z.infer<typeof failureDetailsSchema>

export const failureSchema = z.object({
  category: failureCategorySchema,
  code: z.string().regex(/^[A-Z][A-Z0-9_]*$/),
  message: z.string(),
  evidence: evidenceSchema.nullable(),
  details: failureDetailsSchema.nullable(),
})
/** Why a job failed: a category and code for programs, a message for people, and the evidence the verdict rests on. */
export type Failure = z.infer<typeof failureSchema>
