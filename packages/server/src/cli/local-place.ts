import { whyNotServed } from '../app/served-lanes.ts'
import { loadSettings } from '../config/load-settings.ts'
import type { Settings } from '../config/settings.ts'
import { requireInput } from '../control/call-service.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { resolveEnvironment } from '../sandbox/environments/installed-environments.ts'
import type { Place } from './place.ts'
import { withDatabase } from './with-database.ts'

/** This machine: its database, its registry file, and a stack that is started where none runs. */
export function localPlace(flags: Partial<Settings>): Place {
  return {
    async resolveEnvironment(name) {
      const { settings } = loadSettings(process.env, flags)
      return (await resolveEnvironment(settings.environments, name)).envVersion
    },
    async services() {
      const registry = await open(flags)
      return {
        list: () => Promise.resolve(registry.summaries()),
        show: (name) => Promise.resolve(registry.service(name)),
        schemasOf(reference) {
          const { schemas } = registry.operation(reference)
          return Promise.resolve({ input_schema: schemas.input.schema, output_schema: schemas.output.schema })
        },
      }
    },
    use: (need, work) => withDatabase(need, ({ control }) => work(control), { flags }),
    async call(reference, inputJson, work) {
      const { requireRunner } = await registryFile()
      const { settings } = loadSettings(process.env, flags)
      const operation = (await open(flags)).operation(reference)
      requireRunner(operation.service)
      requireServed(operation.service.execution_type, settings)
      requireInput(operation, inputJson)
      return withDatabase(
        'worker',
        async ({ control }) => work(control, await control.submitCall(operation, inputJson)),
        { flags, needsRegistry: true },
      )
    },
  }
}

/** Not imported above, since the checker of schemas takes 0.2 s to load, and most commands need none. */
const registryFile = () => import('../control/registry-file.ts')

async function open(flags: Partial<Settings>) {
  const { openRegistry } = await registryFile()
  const { settings } = loadSettings(process.env, flags)
  return openRegistry({ file: settings.registry, profile: settings.profile })
}

/** A stack of this machine has nobody for what this machine cannot serve; behind a database of one's own there may be. */
function requireServed(type: string, settings: Settings): void {
  const reason = settings.databaseUrl === null ? whyNotServed(type, settings) : null
  if (reason !== null) throw new ErgonError('RUNNER_NOT_REGISTERED', `${type} services are not served here: ${reason}`)
}
