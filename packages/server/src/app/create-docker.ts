import type { HomePaths } from '../config/home-paths.ts'
import type { Database } from '../platform/db/database.ts'
import type { Logger } from '../platform/logger.ts'
import { findLiveAttempts, readDatabaseIdentity } from '../queue/live-attempts.ts'
import { ContainerReaper } from '../runners/docker/container-reaper.ts'
import { DockerRunner } from '../runners/docker/docker-runner.ts'
import { Engine } from '../runners/docker/engine.ts'
import type { EngineConfig } from '../runners/docker/engine-config.ts'

/** The runner of containers, and the reaper of what fallen workers left on its engine. */
export function createDocker(
  config: EngineConfig,
  { db, paths, logger }: { db: Database; paths: HomePaths; logger: Logger },
): { runner: DockerRunner; reaper: ContainerReaper } {
  const engine = new Engine(config)
  const instance = remember(() => readDatabaseIdentity(db))
  const forbiddenPaths = [paths.home, paths.environments, ...(config.hiddenPaths ?? [])]
  const liveAttempts = (jobIds: readonly string[]) => findLiveAttempts(db, jobIds)
  return {
    runner: new DockerRunner({ engine, instance, forbiddenPaths, logger }),
    reaper: new ContainerReaper({ engine, instance, liveAttempts, logger }),
  }
}

/** A failure is not remembered: the database may only have been away. */
function remember<T>(read: () => Promise<T>): () => Promise<T> {
  let known: Promise<T> | null = null
  return () =>
    (known ??= read().catch((error: unknown) => {
      known = null
      throw error
    }))
}
