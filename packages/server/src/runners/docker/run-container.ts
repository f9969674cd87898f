import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type Docker from 'dockerode'
import type { Container } from 'dockerode'
import { archiveOf } from './archive.ts'
import { BoundedOutput } from './bounded-output.ts'
import type { ContainerEnd, KillReason } from './container-evidence.ts'
import { CALL_TIMEOUT_MS, within } from './engine.ts'
import { INPUT_FILE, INPUT_FOLDER } from './container-spec.ts'
import type { ContainerLimits } from './docker-config.ts'
import { type Usage, UsageSampler } from './usage-sampler.ts'

/** How long a cancelled program has between SIGTERM and SIGKILL. */
const STOP_SECONDS = 2
/** For an engine to carry out a kill, and to hand over what it still holds of the output. */
const KILL_TIMEOUT_MS = 20_000
const LAST_OUTPUT_MS = 5_000
const SIGKILL_EXIT = 128 + 9

export interface RunContainerOptions {
  inputJson: string
  limits: ContainerLimits
  /** When the attempt began, by performance.now(); `wallMs` counts from there. */
  startedAt: number
  wallMs: number
  signal: AbortSignal
  onOutput(stream: 'stdout' | 'stderr', bytes: Buffer): void
}

/** Runs a created container to its end and says how it ended; whoever created it removes it. */
export async function runContainer(
  api: Docker,
  container: Container,
  { inputJson, limits, startedAt, wallMs, signal, onOutput }: RunContainerOptions,
): Promise<ContainerEnd> {
  const killer = new Killer(container)
  const output = new BoundedOutput({
    limitBytes: limits.outputBytes,
    onOutput,
    onLimit: (stream) => killer.kill(stream),
  })
  const sampler = new UsageSampler(container, {
    isWatched: limits.cpuMs !== null,
    onUsage: ({ cpuMs }: Usage) => {
      if (limits.cpuMs !== null && cpuMs >= limits.cpuMs) killer.kill('cpu')
    },
  })
  const input = await archiveOf({ name: INPUT_FILE, mode: 0o444, content: inputJson })
  await within(CALL_TIMEOUT_MS, container.putArchive(input, { path: INPUT_FOLDER, abortSignal: signal }))
  // Not under the signal: a program that is cancelled may still say something.
  const streams = { stream: true, hijack: true, stdin: true, stdout: true, stderr: true } as const
  const stream = await within(CALL_TIMEOUT_MS, container.attach(streams))
  // A program that ends without reading its input breaks the pipe.
  stream.on('error', () => {})
  const streamEnded = once(stream, 'close').catch(() => {})
  api.modem.demuxStream(stream, output.stdout, output.stderr)
  const onAbort = () => killer.kill('client')
  let timer: NodeJS.Timeout | null = null
  try {
    // Not under the signal either: what was said before the engine answered belongs to a container that can be stopped.
    await container.start({ abortSignal: AbortSignal.timeout(wallMs + KILL_TIMEOUT_MS) })
    timer = setTimeout(() => killer.kill('wall'), Math.max(0, wallMs - (performance.now() - startedAt)))
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    stream.end(inputJson)
    sampler.start()
    const exitCode = await Promise.race([waitFor(container), killer.gaveUp])
    const wallMsUsed = performance.now() - startedAt
    await Promise.race([streamEnded, sleep(LAST_OUTPUT_MS, undefined, { ref: false })])
    return {
      exitCode,
      isOomKilled: await wasOutOfMemory(container, exitCode, killer.reason),
      killedBy: killer.reason,
      wallMs: wallMsUsed,
      usage: sampler.stop(),
      outputBytes: output.bytes,
    }
  } finally {
    sampler.stop()
    if (timer !== null) clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    if (stream instanceof Duplex) stream.destroy()
  }
}

/** Ends a container once, for the first reason there is. */
class Killer {
  readonly #container: Container
  #reason: KillReason | null = null
  #giveUp: (exitCode: null) => void = () => {}
  /** Resolves when an engine does not carry out a kill: its container is left to the reaper. */
  readonly gaveUp = new Promise<null>((resolve) => {
    this.#giveUp = resolve
  })

  constructor(container: Container) {
    this.#container = container
  }

  get reason(): KillReason | null {
    return this.#reason
  }

  kill(reason: KillReason): void {
    if (this.#reason !== null) return
    this.#reason = reason
    const timeout = { abortSignal: AbortSignal.timeout(KILL_TIMEOUT_MS) }
    // Somebody's wish lets a program put its things in order; a broken limit does not.
    const ending =
      reason === 'client' ? this.#container.stop({ t: STOP_SECONDS, ...timeout }) : this.#container.kill(timeout)
    // One that has just ended by itself cannot be killed; then the wait is over too.
    Promise.resolve(ending)
      .catch(() => {})
      .finally(() => setTimeout(() => this.#giveUp(null), KILL_TIMEOUT_MS).unref())
  }
}

async function waitFor(container: Container): Promise<number | null> {
  const answer: unknown = await container.wait()
  const status = typeof answer === 'object' && answer !== null && 'StatusCode' in answer ? answer.StatusCode : null
  return typeof status === 'number' ? status : null
}

/** The engine hears of an out-of-memory kill by another way than of the exit, and may hear of it later. */
async function wasOutOfMemory(
  container: Container,
  exitCode: number | null,
  killedBy: KillReason | null,
): Promise<boolean> {
  for (let round = 0; ; round++) {
    const { State: state } = await within(CALL_TIMEOUT_MS, container.inspect())
    if (state.OOMKilled || exitCode !== SIGKILL_EXIT || killedBy !== null || round === 3) return state.OOMKilled
    await sleep(50)
  }
}
