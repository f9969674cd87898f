import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

const MAX_SECRET_BYTES = 65_536

/** A secret from its file, without the line break that editors put at the end. Throws an Error with words. */
export async function readSecretFile(file: string): Promise<string> {
  return (await readBounded(file, MAX_SECRET_BYTES)).text.replace(/\r?\n$/, '')
}

/** A regular file's text; never waits on a pipe, never reads more than the bound, whatever the file's size claims to be. */
export async function readBounded(file: string, maxBytes: number): Promise<{ text: string; mode: number }> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) throw new Error('it is not a regular file')
    const bytes = await readUpTo(handle, maxBytes + 1)
    if (bytes.length > maxBytes) throw new Error(`it is longer than ${maxBytes} bytes`)
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), mode: stat.mode }
  } finally {
    await handle.close()
  }
}

async function readUpTo(handle: FileHandle, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return buffer.subarray(0, filled)
}
