import { createHash } from 'node:crypto'
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import path from 'node:path'
import { isStorageFull, storageFull } from '../platform/errors/storage-full.ts'

/** A file that was received and hashed in one pass and waits to be stored. */
export interface SpooledFile {
  path: string
  digest: string
  sizeBytes: number
  /** The first bytes, for sniffing. */
  head: Buffer
  /** Whether every byte is part of valid UTF-8 without NUL. */
  isText: boolean
}

/** The worker's own folder for one attempt of a job: hostile bytes land here under numbers, never under their own names. */
export class Spool {
  readonly #folder: string
  #files = 0

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Opens the next file; `headBytes` is how much of its beginning is kept in memory. */
  async create(headBytes: number): Promise<SpoolWriter> {
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 })
      const file = path.join(this.#folder, String(this.#files++))
      return new SpoolWriter(file, await open(file, 'wx', 0o600), headBytes)
    } catch (error) {
      throw isStorageFull(error) ? storageFull('the spool', this.#folder, error) : error
    }
  }

  /** Removes everything; safe to call twice. */
  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** Writes one spooled file, hashing as it goes. */
export class SpoolWriter {
  readonly #path: string
  readonly #handle: FileHandle
  readonly #hash = createHash('sha256')
  readonly #text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  readonly #headBytes: number
  readonly #head: Buffer[] = []
  #headSize = 0
  #size = 0
  #isText = true

  constructor(file: string, handle: FileHandle, headBytes: number) {
    this.#path = file
    this.#handle = handle
    this.#headBytes = headBytes
  }

  async write(chunk: Buffer): Promise<void> {
    try {
      for (let written = 0; written < chunk.length; ) {
        written += (await this.#handle.write(chunk, written)).bytesWritten
      }
    } catch (error) {
      throw isStorageFull(error) ? storageFull('the spool', path.dirname(this.#path), error) : error
    }
    this.#hash.update(chunk)
    this.#size += chunk.length
    this.#checkText(chunk)
    if (this.#headSize < this.#headBytes) {
      const part = Buffer.from(chunk.subarray(0, this.#headBytes - this.#headSize))
      this.#head.push(part)
      this.#headSize += part.length
    }
  }

  async finish(): Promise<SpooledFile> {
    await this.#handle.close()
    this.#checkText(null)
    return {
      path: this.#path,
      digest: `sha256:${this.#hash.digest('hex')}`,
      sizeBytes: this.#size,
      head: Buffer.concat(this.#head),
      isText: this.#isText,
    }
  }

  /** Closes the file of a transfer that broke off. */
  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => {})
  }

  #checkText(chunk: Buffer | null): void {
    if (!this.#isText) return
    try {
      if (chunk === null) this.#text.decode()
      else this.#isText = !this.#text.decode(chunk, { stream: true }).includes('\u0000')
    } catch {
      this.#isText = false
    }
  }
}
