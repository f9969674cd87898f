/** A reference in its parts; `name` is as written, without tag and digest. */
export interface ImageReference {
  name: string
  tag: string | null
  /** `sha256:…` of a pinned image. */
  digest: string | null
}

/** What an engine says of an image that it has. */
export interface EngineImage {
  Id: string
  RepoDigests?: readonly string[] | null
}

/** Takes apart a reference that the registry's schema accepted. */
export function parseReference(reference: string): ImageReference {
  const at = reference.indexOf('@')
  const digest = at === -1 ? null : reference.slice(at + 1)
  const rest = at === -1 ? reference : reference.slice(0, at)
  // A colon before the last slash parts a host from its port.
  const colon = rest.indexOf(':', rest.lastIndexOf('/') + 1)
  return colon === -1
    ? { name: rest, tag: null, digest }
    : { name: rest.slice(0, colon), tag: rest.slice(colon + 1), digest }
}

/**
 * Whether an image is what a digest pins: the digest of its manifest in a registry, or, for one that was loaded
 * or imported and never in a registry, the image's own id.
 */
export function isPinnedImage({ Id, RepoDigests }: EngineImage, digest: string): boolean {
  return Id === digest || (RepoDigests ?? []).some((each) => each.endsWith(`@${digest}`))
}

/** The registry that an engine would ask, as its own rule reads a reference: a first part with a dot, a port, or localhost. */
export function registryOf({ name }: ImageReference): string {
  const [first = '', ...rest] = name.split('/')
  const isHost = rest.length > 0 && (first.includes('.') || first.includes(':') || first === 'localhost')
  return isHost ? first : 'https://index.docker.io/v1/'
}
