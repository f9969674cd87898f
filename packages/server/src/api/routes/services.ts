import { environmentListSchema, serviceListSchema, serviceSchema } from '@ergon/contract'
import { z } from 'zod'
import { describeService, listServices } from '../../control/describe-service.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { ApiContext } from '../api-context.ts'
import type { ApiApp } from '../api-app.ts'
import { AbsentError } from '../problem.ts'
import { refusals } from '../refusals.ts'

export function addServiceRoutes(app: ApiApp, { registry, listEnvironments }: ApiContext): void {
  app.get(
    '/v1/services',
    {
      config: { access: 'read' },
      schema: {
        operationId: 'listServices',
        tags: ['services'],
        summary: 'The services that can be called, in the order of the registry',
        response: { 200: serviceListSchema, ...refusals(401, 403, 429) },
      },
    },
    () => ({ items: listServices(registry()) }),
  )

  app.get(
    '/v1/services/:service',
    {
      config: { access: 'read' },
      schema: {
        operationId: 'getService',
        tags: ['services'],
        summary: 'A service with what its operations take and give',
        params: z.object({ service: z.string().min(1).max(200).describe('Its name; case does not count') }),
        response: { 200: serviceSchema, ...refusals(401, 403, 404, 422, 429) },
      },
    },
    (request) => {
      const { service } = request.params
      const open = registry()
      if (open === null)
        throw new AbsentError(
          'SERVICE_NOT_FOUND',
          `there is no service ${JSON.stringify(service)}: this API has no service registry`,
        )
      try {
        return describeService(open, service)
      } catch (error) {
        if (!(error instanceof ErgonError) || error.code !== 'SERVICE_NOT_FOUND') throw error
        throw new AbsentError(error.code, error.message, { cause: error })
      }
    },
  )

  app.get(
    '/v1/environments',
    {
      config: { access: 'read' },
      schema: {
        operationId: 'listEnvironments',
        tags: ['services'],
        summary: "The environments of the API's machine, which payloads name",
        response: { 200: environmentListSchema, ...refusals(401, 403, 429) },
      },
    },
    async () => ({ items: await listEnvironments() }),
  )
}
