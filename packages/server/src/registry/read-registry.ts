import { constants } from 'node:fs'
import { type FileHandle, open, realpath } from 'node:fs/promises'
import path from 'node:path'
import { MAX_YAML_BYTES } from '../platform/yaml/located-yaml.ts'
import { parseRegistry, type ParsedRegistry } from './parse-registry.ts'
import { RegistryError } from './registry-fault.ts'

const MAX_SCRIPT_BYTES = 524_288
const MAX_SECRET_BYTES = 65_536

/** Reads and checks a registry file, `mode` being its rights; throws REGISTRY_NOT_FOUND or REGISTRY_EMPTY. Its faults are in what it gives. */
export async function readRegistry(file: string): Promise<{ text: string; mode: number; parsed: ParsedRegistry }> {
  const { text, mode } = await readRegistryText(file)
  return { text, mode, parsed: parseRegistry(text, file) }
}

async function readRegistryText(file: string): Promise<{ text: string; mode: number }> {
  try {
    return await readBounded(file, MAX_YAML_BYTES)
  } catch (error) {
    throw new RegistryError('REGISTRY_NOT_FOUND', `Service registry not found: ${file}: ${reasonOf(error)}`)
  }
}

/** A program beside the registry: a regular file below its folder, whatever links say. Throws an Error with words. */
export async function readScript(registryFile: string, script: string): Promise<string> {
  const folder = await realpath(path.dirname(registryFile))
  const file = await realpath(path.join(folder, script))
  if (!file.startsWith(`${folder}${path.sep}`)) throw new Error(`it leads out of the registry's folder, to ${file}`)
  return (await readBounded(file, MAX_SCRIPT_BYTES)).text
}

/** A secret from its file, without the line break that editors put at the end. Throws an Error with words. */
export async function readSecretFile(file: string): Promise<string> {
  return (await readBounded(file, MAX_SECRET_BYTES)).text.replace(/\r?\n$/, '')
}

/** A regular file's text; never waits on a pipe, never reads more than the bound, whatever the file's size claims to be. */
async function readBounded(file: string, maxBytes: number): Promise<{ text: string; mode: number }> {
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

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
