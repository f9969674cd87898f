import type Docker from 'dockerode'
import { z } from 'zod'

const stepSchema = z.object({
  status: z.string().optional().catch(undefined),
  error: z.string().optional().catch(undefined),
})

/**
 * What each step of a pull or an import says of itself. Throws what the engine says went wrong: its answer is 200 as
 * soon as the work begins, so a failure is a step like the others.
 */
export async function progressOf(api: Docker, stream: NodeJS.ReadableStream): Promise<string[]> {
  const steps = await new Promise<unknown[]>((resolve, reject) => {
    api.modem.followProgress(stream, (error, all: unknown[] | undefined) =>
      error === null ? resolve(all ?? []) : reject(error),
    )
  })
  return steps.map((step) => {
    const { status, error } = stepSchema.catch({}).parse(step)
    if (error !== undefined) throw new Error(error)
    return status ?? ''
  })
}
