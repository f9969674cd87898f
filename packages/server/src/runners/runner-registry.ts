import type { ExecutionType } from '@ergon/contract'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Runner } from './runner.ts'

const DISPLAY_NAMES = {
  http: 'HTTP API',
  shell: 'Shell Script',
  docker: 'Docker Container',
  serverless: 'Serverless Function',
  sandbox: 'Sandbox',
  wasm: 'WebAssembly Module',
  kubernetes: 'Kubernetes Job',
} as const satisfies Record<ExecutionType, string>

/** Maps an execution type to the runner that serves it. */
export class RunnerRegistry {
  readonly #runners = new Map<string, Runner>()

  register(executionType: ExecutionType, runner: Runner): void {
    this.#runners.set(executionType, runner)
  }

  /** The types that have a runner, which are the lanes a worker can serve. */
  executionTypes(): string[] {
    return [...this.#runners.keys()]
  }

  get(executionType: string): Runner {
    const runner = this.#runners.get(executionType)
    if (runner !== undefined) return runner
    const name = Object.hasOwn(DISPLAY_NAMES, executionType)
      ? DISPLAY_NAMES[executionType as ExecutionType]
      : executionType
    throw new ErgonError('RUNNER_NOT_REGISTERED', `No runner registered for execution type: ${name}`)
  }
}
