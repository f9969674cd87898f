import { limitsSchema } from '@ergon/contract'
import { z } from 'zod'

/** Whose the jobs of callers without a token are. A token that is bound to this tenant sees them. */
export const FACADE_TENANT = 'facade00-0000-4000-8000-000000000000'

/** What an API process is told of its facade; without it there is none. */
export const facadeRulesSchema = z.object({
  /** Names that a Host header may have, with or without a port, beside those of this machine's loopback. */
  hosts: z.array(z.string()),
  /** Ceilings of the service that runs the code: a job that asks for more is refused. */
  ceilings: limitsSchema.required(),
  /** Whether the environments of this machine are those of the workers. */
  seesEnvironments: z.boolean(),
})
export type FacadeRules = z.infer<typeof facadeRulesSchema>
