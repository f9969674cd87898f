import type { ExecutionType } from '@ergon/contract'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { EXECUTION_TYPE_NAMES } from '../registry/field-support.ts'
import type { Runner } from './runner.ts'

/** A runner with a configuration that it has checked. */
export interface PreparedRunner {
  runner: Runner
  config: unknown
}

/** Maps an execution type to the runner that serves it. */
export class RunnerRegistry {
  readonly #runners = new Map<string, Runner>()
  /** By the configuration's identity: a reload brings new objects, and the old ones go with their last job. */
  readonly #prepared = new WeakMap<object, PreparedRunner>()

  register(executionType: ExecutionType, runner: Runner): void {
    this.#runners.set(executionType, runner)
  }

  /** The types that have a runner, which are the lanes a worker can serve. */
  executionTypes(): string[] {
    return [...this.#runners.keys()]
  }

  /** The type's runner and what it made of a service's configuration, which it checks once. Throws as `get` and `validateConfig` do. */
  prepare(executionType: string, serviceConfig: unknown): PreparedRunner {
    const key = typeof serviceConfig === 'object' ? serviceConfig : null
    const known = key === null ? undefined : this.#prepared.get(key)
    if (known !== undefined) return known
    const runner = this.get(executionType)
    const prepared = { runner, config: runner.validateConfig(serviceConfig) }
    if (key !== null) this.#prepared.set(key, prepared)
    return prepared
  }

  get(executionType: string): Runner {
    const runner = this.#runners.get(executionType)
    if (runner !== undefined) return runner
    const name = Object.hasOwn(EXECUTION_TYPE_NAMES, executionType)
      ? EXECUTION_TYPE_NAMES[executionType as ExecutionType]
      : executionType
    throw new ErgonError('RUNNER_NOT_REGISTERED', `No runner registered for execution type: ${name}`)
  }
}
