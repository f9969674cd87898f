import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { ISOLATIONS } from '@ergon/contract'
import { z } from 'zod'
import { sandboxEvidenceSchema } from '../domain/sandbox-evidence.ts'
import { type Frame, MAX_PAYLOAD_BYTES, readFrames, writeFrame } from './frame-stream.ts'
import {
  type ByteSink,
  type Sandbox,
  SandboxError,
  type SandboxObserver,
  type SandboxReport,
  type SandboxRequest,
  type UplinkSupport,
} from './sandbox.ts'

/** How long a killed sandbox may take to report before its connection is cut, which kills it by itself. */
const KILL_PATIENCE_MS = 15_000

/** Inputs up to this size follow the request at once: sandboxd finds them when it is ready, instead of asking and waiting. */
const UNASKED_INPUT_BYTES = 65_536

const messageSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('accepted') }),
  z.object({ type: z.literal('started'), isolation: z.enum(ISOLATIONS) }),
  z.object({ type: z.literal('warm') }),
  z.object({
    type: z.literal('probe_result'),
    uplink: z.object({ allowed: z.boolean(), networks: z.array(z.string()) }),
  }),
  z.object({ type: z.literal('error'), code: z.string(), message: z.string() }),
  z.object({ type: z.literal('output'), stream: z.enum(['stdout', 'stderr']) }),
  z.object({ type: z.literal('exit'), evidence: sandboxEvidenceSchema }),
  z.object({ type: z.literal('result'), size: z.number().int().nonnegative() }),
  z.object({
    type: z.literal('artifact'),
    name: z.string(),
    size: z.number().int().nonnegative(),
  }),
  z.object({
    type: z.literal('violation'),
    path: z.string(),
    code: z.string(),
  }),
  z.object({
    type: z.literal('limit'),
    counter: z.string(),
    limit: z.number(),
    observed: z.number(),
  }),
  z.object({ type: z.literal('done') }),
])
type Message = z.infer<typeof messageSchema>

/** Speaks sandboxd/PROTOCOL.md over a unix socket; one connection is one sandbox. */
export class SandboxdClient implements Sandbox {
  readonly #socketPath: string

  constructor(socketPath: string) {
    this.#socketPath = socketPath
  }

  async run(request: SandboxRequest, observer: SandboxObserver, signal: AbortSignal): Promise<SandboxReport> {
    const socket = await connectTo(this.#socketPath)
    let cut: NodeJS.Timeout | undefined
    const kill = () => {
      if (socket.destroyed) return
      socket.write('{"type":"kill","reason":"cancelled"}\n')
      cut = setTimeout(() => socket.destroy(), KILL_PATIENCE_MS)
    }
    try {
      const frames = readFrames(socket)
      const asksFirst = totalBytes(request.files) > UNASKED_INPUT_BYTES
      await writeFrame(socket, toRunMessage(request))
      if (asksFirst) await expectAccepted(frames)
      if (signal.aborted) throw new SandboxError('ABORTED', 'cancelled before the program started')
      await sendInputs(socket, request)
      if (signal.aborted) kill()
      else signal.addEventListener('abort', kill, { once: true })
      if (!asksFirst) await expectAccepted(frames)
      return await receive(frames, observer)
    } catch (error) {
      if (error instanceof SandboxError || isOwnFault(error)) throw error
      throw new SandboxError(
        'LOST',
        `the connection to sandboxd broke: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      )
    } finally {
      clearTimeout(cut)
      signal.removeEventListener('abort', kill)
      socket.destroy()
    }
  }

  async warmUp({ environment, runtime, cpuPercent }: Parameters<Sandbox['warmUp']>[0]): Promise<void> {
    const answer = await ask(this.#socketPath, { type: 'warm_up', environment, runtime, cpu_percent: cpuPercent })
    if (answer.type !== 'warm') throw new SandboxError('PROTOCOL', `sandboxd answered warm_up with "${answer.type}"`)
  }

  async uplink(): Promise<UplinkSupport> {
    const answer = await ask(this.#socketPath, { type: 'probe' })
    if (answer.type !== 'probe_result')
      throw new SandboxError('PROTOCOL', `sandboxd answered probe with "${answer.type}"`)
    return answer.uplink
  }
}

async function ask(socketPath: string, request: Record<string, unknown>): Promise<Message> {
  const socket = await connectTo(socketPath)
  try {
    await writeFrame(socket, request)
    return (await nextMessage(readFrames(socket))).message
  } finally {
    socket.destroy()
  }
}

async function connectTo(socketPath: string): Promise<Socket> {
  const socket = connect(socketPath)
  try {
    await once(socket, 'connect')
  } catch (error) {
    throw new SandboxError('UNREACHABLE', `sandboxd does not answer at ${socketPath}`, { cause: error })
  }
  // A reset while nobody reads would otherwise end the process; readers see it as the end of the stream.
  socket.on('error', () => {})
  return socket
}

/** The protocol's first message for a request. */
export function toRunMessage(request: SandboxRequest): Record<string, unknown> {
  const { id, environment, runtime, isolation, entry, env, seed, network, workspace, limits, onOutputLimit } = request
  return {
    type: 'run',
    id,
    environment,
    runtime,
    isolation,
    entry,
    env,
    seed,
    network,
    workspace,
    limits,
    on_output_limit: onOutputLimit,
  }
}

async function expectAccepted(frames: AsyncGenerator<Frame>): Promise<void> {
  const message = await nextMessage(frames)
  if (message.message.type !== 'accepted')
    throw new SandboxError('PROTOCOL', `sandboxd answered a request with "${message.message.type}"`)
}

function totalBytes(files: SandboxRequest['files']): number {
  return files.reduce((sum, file) => sum + file.sizeBytes, 0)
}

async function sendInputs(socket: Socket, request: SandboxRequest): Promise<void> {
  for (const file of request.files) {
    await writeFrame(socket, {
      type: 'file',
      path: file.path,
      size: file.sizeBytes,
    })
    for await (const chunk of file.read()) {
      for (let at = 0; at < chunk.length; at += MAX_PAYLOAD_BYTES) {
        await writeFrame(socket, { type: 'data' }, chunk.subarray(at, at + MAX_PAYLOAD_BYTES))
      }
    }
  }
  await writeFrame(socket, { type: 'start' })
}

async function receive(frames: AsyncGenerator<Frame>, observer: SandboxObserver): Promise<SandboxReport> {
  const report: Partial<SandboxReport> & Pick<SandboxReport, 'isolation' | 'violations' | 'collectionLimits'> = {
    isolation: null,
    violations: [],
    collectionLimits: [],
  }
  for (;;) {
    const { message, payload } = await nextMessage(frames)
    switch (message.type) {
      case 'started':
        report.isolation = message.isolation
        observer.onStarted()
        break
      case 'output':
        observer.onOutput(message.stream, payload)
        break
      case 'exit':
        report.evidence = message.evidence
        break
      case 'result':
        await receiveFile(frames, message.size, await observer.openResult(message.size))
        break
      case 'artifact':
        await receiveFile(frames, message.size, await observer.openArtifact(message.name, message.size))
        break
      case 'violation':
        report.violations.push({ path: message.path, code: message.code })
        break
      case 'limit':
        report.collectionLimits.push({
          counter: message.counter,
          limit: message.limit,
          observed: message.observed,
        })
        break
      case 'done': {
        const { isolation, evidence, violations, collectionLimits } = report
        if (evidence === undefined) throw new SandboxError('PROTOCOL', 'sandboxd was done without evidence')
        return { isolation, evidence, violations, collectionLimits }
      }
      default:
        throw new SandboxError('PROTOCOL', `unexpected "${message.type}" from sandboxd`)
    }
  }
}

async function receiveFile(frames: AsyncGenerator<Frame>, sizeBytes: number, sink: ByteSink): Promise<void> {
  for (let received = 0; received < sizeBytes; ) {
    const next = await frames.next()
    if (next.done) throw new SandboxError('LOST', 'sandboxd closed in the middle of a file')
    if (next.value.message.type !== 'data') throw new SandboxError('PROTOCOL', 'sandboxd broke off a file')
    await sink.write(next.value.payload)
    received += next.value.payload.length
  }
  await sink.finish()
}

async function nextMessage(
  frames: AsyncGenerator<Frame>,
): Promise<{ message: Exclude<Message, { type: 'error' }>; payload: Buffer }> {
  const next = await frames.next()
  if (next.done) throw new SandboxError('LOST', 'sandboxd closed the connection; the sandbox is gone')
  const message = messageSchema.parse(next.value.message)
  if (message.type === 'error') throw new SandboxError(message.code, message.message)
  return { message, payload: next.value.payload }
}

/** Faults of reading inputs or writing the spool are the caller's, not sandboxd's. */
function isOwnFault(error: unknown): boolean {
  return error instanceof Error && error.name === 'ErgonError'
}
