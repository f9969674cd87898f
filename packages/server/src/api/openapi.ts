import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { createJsonSchemaTransform } from 'fastify-type-provider-zod'
import type { ApiApp } from './api-app.ts'

/** Where the page is: its routes are made by a library that knows nothing of access. */
export const DOCS = '/docs'

/** Serves `/openapi.json`, made from the very schemas that requests are checked with, and `/docs`, a page made from it. */
export async function serveDescription(app: ApiApp, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Ergon',
        version,
        description:
          'Submit jobs, wait for them, follow them, fetch what they left. Refusals are problem details (RFC 9457) with a code of docs/errors.md.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'ergon_<id>_<secret>',
            description: '`ergon tokens create` makes one',
          },
        },
      },
      security: [{ token: [] }],
    },
    transform: createJsonSchemaTransform({}),
  })
  await app.register(swaggerUi, {
    routePrefix: DOCS,
    staticCSP: true,
    uiConfig: { docExpansion: 'list', tryItOutEnabled: false, persistAuthorization: false },
  })
  app.get('/openapi.json', { config: { access: 'public' }, schema: { hide: true } }, () => app.swagger())
}
