import { realpath } from 'node:fs/promises'
import path from 'node:path'
import { MAX_YAML_BYTES } from '../platform/yaml/located-yaml.ts'
import { readBounded } from './bounded-file.ts'
import { parseRegistry, type ParsedRegistry } from './parse-registry.ts'
import { RegistryError } from './registry-fault.ts'

const MAX_SCRIPT_BYTES = 524_288

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

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
