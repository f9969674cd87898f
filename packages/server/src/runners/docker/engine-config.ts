import { z } from 'zod'

/** The engine as its operator named it, with what its certificates and keys hold: the worker's user can read no key of root's. */
export const engineConfigSchema = z.object({
  url: z.string(),
  tls: z.object({ ca: z.string(), cert: z.string(), key: z.string() }).nullable(),
  /** For an engine at ssh://. */
  ssh: z.exactOptional(z.object({ privateKey: z.string(), knownHosts: z.string() })),
  /** Files and folders of whoever starts the worker that no container may see. */
  hiddenPaths: z.exactOptional(z.array(z.string())),
})
export type EngineConfig = z.infer<typeof engineConfigSchema>

/** A path of an engine on another machine means another file there, so such an engine mounts none. */
export function isLocalEngine({ url }: EngineConfig): boolean {
  return url.startsWith('unix:')
}
