import { z } from 'zod'

/** What a command needs of the stack; `worker` includes both others. */
export const STACK_NEEDS = ['database', 'sandboxd', 'worker'] as const
export type StackNeed = (typeof STACK_NEEDS)[number]

/** First line a client sends; the open connection is what keeps the stack in use. */
export const stackRequestSchema = z.object({
  need: z.enum(STACK_NEEDS),
  /** The client's DATABASE_URL, or null when it means the embedded server. */
  databaseUrl: z.string().nullable(),
  /** The registry that the client's jobs need; absent when they need none. */
  registry: z.string().nullable().default(null),
})
export type StackRequest = z.infer<typeof stackRequestSchema>

/** The stack's one answer. Only the socket's owner can read it: it holds passwords. */
export const stackAnswerSchema = z.union([
  z.object({
    databaseUrl: z.string().nullable(),
    workerDatabaseUrl: z.string().nullable(),
    callbackDatabaseUrl: z.string().nullable(),
    apiDatabaseUrl: z.string().nullable(),
  }),
  z.object({ error: z.object({ code: z.string(), message: z.string() }) }),
])
export type StackAnswer = z.infer<typeof stackAnswerSchema>
