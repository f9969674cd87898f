import type { ServiceDescription } from '@ergon/contract'
import { createRemote } from '../app/create-remote.ts'
import { loadSettings } from '../config/load-settings.ts'
import { takeServerToken } from '../config/server-token.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { closestMatch } from '../platform/text/closest-match.ts'
import { parseLossless } from '../platform/text/lossless-json.ts'
import { ask } from '../remote/remote-error.ts'
import type { Place } from './place.ts'

/** The server that ERGON_URL names, which resolves names and checks input itself. */
export function remotePlace(serverUrl: string): Place {
  const { settings } = loadSettings(process.env)
  const { client, control } = createRemote(serverUrl, takeServerToken(process.env, settings))
  const describe = (name: string): Promise<ServiceDescription> => ask(() => client.service(name))

  /** A dot may be part of either name, so the services decide where there are several. */
  async function split(reference: string): Promise<[service: string, operation: string]> {
    const dots = [...reference.matchAll(/\./g)].map(({ index }) => index)
    const [first] = dots
    if (first === undefined) throw new ErgonError('USAGE', `${JSON.stringify(reference)}: expected SERVICE.OPERATION`)
    const names = dots.length === 1 ? [] : (await ask(() => client.services())).map(({ name }) => name.toLowerCase())
    const dot = dots.find((at) => names.includes(reference.slice(0, at).toLowerCase())) ?? first
    return [reference.slice(0, dot), reference.slice(dot + 1)]
  }

  return {
    async resolveEnvironment(name) {
      const environments = await ask(() => client.environments())
      const found = environments.find(
        (each) => (name.includes('@') ? each.env_version : each.is_default && each.name) === name,
      )
      if (found !== undefined) return found.env_version
      const known = [...new Set(environments.map((each) => each.name))]
      const similar = closestMatch(name.split('@')[0] ?? name, known)
      throw new ErgonError(
        'ENVIRONMENT_NOT_FOUND',
        `there is no environment "${name}" at ${serverUrl}${similar === undefined || similar === name ? '' : `; did you mean "${similar}"?`} Environments there: ${known.join(', ') || 'none'}`,
      )
    },
    services: () =>
      Promise.resolve({
        list: async () =>
          (await ask(() => client.services())).map(
            ({ name, type, category, execution_type, is_served, operations }) => ({
              ...{ name, type, category, execution_type, operations },
              display_name: execution_type,
              has_runner: is_served,
            }),
          ),
        show: describe,
        async schemasOf(reference) {
          const [service, wanted] = await split(reference)
          const { name, operations } = await describe(service)
          const found = operations.find((each) => each.name.toLowerCase() === wanted.toLowerCase())
          if (found !== undefined) return { input_schema: found.input_schema, output_schema: found.output_schema }
          throw new ErgonError(
            'OPERATION_NOT_FOUND',
            `service "${name}" has no operation "${wanted}"; operations: ${operations.map((each) => each.name).join(', ')}`,
          )
        },
      }),
    use: (_need, work) => work(control),
    async call(reference, inputJson, work) {
      const [service, operation] = await split(reference)
      const job = await ask(() => client.submit({ service, operation, input: parseLossless(inputJson) }))
      return work(control, job.job_id)
    },
  }
}
