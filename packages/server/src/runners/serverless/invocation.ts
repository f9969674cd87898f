import type { Failure } from '@ergon/contract'
import { z } from 'zod'
import { describeIssues } from '../../platform/text/describe-issues.ts'
import { parseLossless } from '../../platform/text/lossless-json.ts'
import type { PayloadLimits } from './provider.ts'

const invocationSchema = z.strictObject({
  payload: z.unknown().optional(),
  invocation_type: z.enum(['RequestResponse', 'Event']).default('RequestResponse'),
})

interface Invocation {
  payloadJson: string
  isEvent: boolean
}

/** What a job's input asks for, or why nothing is sent. Numbers of the payload stay as the caller wrote them. */
export function readInvocation(inputJson: string | null, limits: PayloadLimits): Invocation | Failure {
  const text = inputJson ?? '{}'
  // Depth and size are bounded already: every input is checked against its operation before a runner sees it.
  const parsed = invocationSchema.safeParse(JSON.parse(text))
  if (!parsed.success) {
    const problems = describeIssues(parsed.error.issues)
    return refusal('INPUT_INVALID', `input_data of a serverless service is {payload, invocation_type}: ${problems}`)
  }
  const isEvent = parsed.data.invocation_type === 'Event'
  const limit = isEvent ? limits.event : limits.request
  if (limit === null)
    return refusal('INPUT_INVALID', 'input_data/invocation_type: this provider has RequestResponse only')
  const { payload } = parseLossless(text) as { payload?: unknown }
  const payloadJson = JSON.stringify(payload ?? null)
  const bytes = Buffer.byteLength(payloadJson)
  if (bytes > limit) {
    const message = `the payload is ${bytes} bytes, the provider takes ${limit} with ${parsed.data.invocation_type}; nothing was sent`
    return { ...refusal('PAYLOAD_TOO_LARGE', message), evidence: { counter: 'payload_bytes', limit, observed: bytes } }
  }
  return { payloadJson, isEvent }
}

function refusal(code: string, message: string): Failure {
  return { category: 'VALIDATION_ERROR', code, message, evidence: null, details: null }
}
