import { z } from 'zod'

/** A refusal as RFC 9457 problem details; `code` is one of docs/errors.md. */
export const problemSchema = z
  .object({
    type: z.string().describe('urn:ergon:error: and the code'),
    title: z.string().describe('What the code means; the same for each occurrence'),
    status: z.number().int(),
    detail: z.string().describe('What is wrong here, the value seen, and what to do'),
    code: z.string(),
    request_id: z.string().describe('Also in the header X-Request-Id, and in the logs of the API'),
    errors: z
      .exactOptional(z.array(z.object({ pointer: z.string(), message: z.string() })))
      .describe('Every place of the request that is wrong, as JSON pointers into its part'),
  })
  .meta({ id: 'Problem' })
export type Problem = z.infer<typeof problemSchema>
