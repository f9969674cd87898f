import type { Logger } from '../../platform/logger.ts'
import { IntervalLoop } from '../../platform/process/interval-loop.ts'
import type { Engine } from './engine.ts'
import { within } from './engine.ts'
import { LABELS } from './labels.ts'

const INTERVAL_MS = 15_000
const LIST_TIMEOUT_MS = 30_000
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export interface FoundContainer {
  id: string
  jobId: string
  attempt: number
}

export interface ContainerReaperDependencies {
  engine: Engine
  /** Of this database alone: another one's containers are not ours to judge. */
  instance(): Promise<string>
  /** Of these jobs the attempts that some worker holds, on whatever machine. */
  liveAttempts(jobIds: readonly string[]): Promise<readonly { jobId: string; attempt: number }[]>
  logger: Logger
}

/** Removes what workers left that fell: containers of attempts that the database counts as lost. Any number of workers may run it. */
export class ContainerReaper {
  readonly #dependencies: ContainerReaperDependencies
  readonly #loop: IntervalLoop

  constructor(dependencies: ContainerReaperDependencies) {
    this.#dependencies = dependencies
    this.#loop = new IntervalLoop({
      intervalMs: INTERVAL_MS,
      turn: () => this.sweep(),
      onError: (error) =>
        dependencies.logger.warn({ err: error }, 'the container engine could not be swept; trying again'),
    })
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** One look at the engine; gives how many containers it removed. */
  async sweep(): Promise<number> {
    const { engine, instance, liveAttempts, logger } = this.#dependencies
    const filters = { label: [`${LABELS.instance}=${await instance()}`] }
    const listed = await within(LIST_TIMEOUT_MS, engine.api.listContainers({ all: true, filters }))
    const found = listed.flatMap(({ Id, Labels }): FoundContainer[] => {
      const [jobId, attempt] = [Labels[LABELS.job] ?? '', Number(Labels[LABELS.attempt])]
      return UUID.test(jobId) && Number.isSafeInteger(attempt) ? [{ id: Id, jobId, attempt }] : []
    })
    if (found.length === 0) return 0
    // Asked after the engine was: a claim is older than its container, so no live one can be missing here.
    const lost = findLost(found, await liveAttempts([...new Set(found.map(({ jobId }) => jobId))]))
    for (const { id, jobId, attempt } of lost) {
      await within(LIST_TIMEOUT_MS, engine.api.getContainer(id).remove({ force: true, v: true })).then(
        () => logger.warn({ container: id, jobId, attempt }, 'a container of a lost attempt was removed'),
        (error: unknown) =>
          logger.debug({ err: error, container: id }, 'a container is gone already, or will be looked at again'),
      )
    }
    return lost.length
  }
}

/** The containers whose attempt nobody holds. */
export function findLost(
  found: readonly FoundContainer[],
  live: readonly { jobId: string; attempt: number }[],
): FoundContainer[] {
  const alive = new Set(live.map(({ jobId, attempt }) => `${jobId} ${attempt}`))
  return found.filter(({ jobId, attempt }) => !alive.has(`${jobId} ${attempt}`))
}
