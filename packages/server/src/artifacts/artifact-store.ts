import type { Readable } from 'node:stream'

/** Bytes of a file, both ends included. */
export interface ByteRange {
  start: number
  end: number
}

/** A place that holds immutable bytes by their SHA-256; the same digest is stored once, whoever stores it. */
export interface ArtifactStore {
  /**
   * Stores the file at `path` (on the store's own file system or not) under `digest`, which the caller has computed
   * from exactly these bytes. Storing a digest that is there already changes nothing. Throws STORAGE_FULL.
   */
  put(path: string, digest: string): Promise<void>
  /** The size in bytes, or null when the digest is not stored. */
  size(digest: string): Promise<number | null>
  /**
   * A stream of the bytes; throws ARTIFACT_NOT_FOUND, and ends in ARTIFACT_CORRUPT when they are not the digest's: before the
   * last of them, so that nobody takes them for whole. Of a part too: the whole file is
   * read for it, unless it was before and nobody has written to it since.
   */
  read(digest: string, range?: ByteRange): Promise<Readable>
  /** Bytes that can still be stored. */
  freeBytes(): Promise<number>
}
