import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { DEFAULT_JOB_LIMITS, type Isolation } from '@ergon/contract'
import { toSandboxLimits } from '../../packages/server/src/domain/limits.ts'
import { readFrames, writeFrame } from '../../packages/server/src/sandbox/frame-stream.ts'
import { toRunMessage } from '../../packages/server/src/sandbox/sandboxd-client.ts'
import type {
  Sandbox,
  SandboxObserver,
  SandboxReport,
  SandboxRequest,
} from '../../packages/server/src/sandbox/sandbox.ts'

/** What a worker on a machine of this kind would ask for: a core for each sandbox. */
export const CPU_PERCENT = 100

export function sandboxRequest(
  envVersion: string,
  entry: SandboxRequest['entry'],
  files: readonly { path: string; text: string }[],
  isolation: Isolation = 'fresh',
): SandboxRequest {
  return {
    id: `bench-${randomUUID()}`,
    environment: envVersion,
    runtime: 'crun',
    entry,
    env: {},
    isolation,
    seed: null,
    network: { level: 'loopback' },
    workspace: 'read_write',
    limits: toSandboxLimits(DEFAULT_JOB_LIMITS, CPU_PERCENT),
    onOutputLimit: 'kill',
    files: files.map(({ path, text }) => {
      const content = Buffer.from(text)
      return { path, sizeBytes: content.length, read: () => [content] }
    }),
  }
}

/** A request to run this text as a Python program. */
export function pythonRequest(envVersion: string, text: string, isolation?: Isolation): SandboxRequest {
  return sandboxRequest(
    envVersion,
    { kind: 'python', file: 'code/main.py' },
    [{ path: 'code/main.py', text }],
    isolation,
  )
}

/** Runs one sandbox and returns what it printed. Throws when its program fails. */
export async function runToEnd(
  client: Sandbox,
  wanted: SandboxRequest,
): Promise<{ printed: string; isolation: SandboxReport['isolation'] }> {
  let printed = ''
  const observer: SandboxObserver = {
    onStarted() {},
    onOutput(_stream, bytes) {
      printed += bytes.toString()
    },
    openResult: () => Promise.reject(new Error('a result was not expected')),
    openArtifact: () => Promise.reject(new Error('an artifact was not expected')),
  }
  const { evidence, isolation } = await client.run(wanted, observer, new AbortController().signal)
  if (evidence.exit.kind !== 'exited' || evidence.exit.code !== 0)
    throw new Error(`a sandbox ended as ${JSON.stringify(evidence.exit)}, killed by ${evidence.killed_by}: ${printed}`)
  return { printed, isolation }
}

/** Runs one sandbox without inputs until all of it is removed, which its connection's end tells. Throws unless it is done. */
export async function runUntilRemoved(socketPath: string, wanted: SandboxRequest): Promise<void> {
  const socket = connect(socketPath)
  await once(socket, 'connect')
  await writeFrame(socket, toRunMessage(wanted))
  await writeFrame(socket, { type: 'start' })
  let last: unknown
  for await (const { message } of readFrames(socket)) last = message
  const { type } = Object(last) as { type?: unknown }
  if (type !== 'done') throw new Error(`the last word of a sandbox was ${JSON.stringify(last)}`)
}
