import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { ApiApp } from './api-app.ts'
import { type OpenApiDocument, tidyDocument } from './openapi-document.ts'
import { describeAccess } from './openapi-route.ts'

/** Where the page is: its routes are made by a library that knows nothing of access. */
export const DOCS = '/docs'

const DESCRIPTION = `Submit jobs, wait for them, follow them, fetch what they left.

Refusals are problem details (RFC 9457) with a \`code\` of docs/errors.md. Objects in requests take no fields but those that are listed; answers may get new ones. Times are RFC 3339. What takes GET takes HEAD too, streams excepted.`

const TAGS = [
  { name: 'jobs', description: 'Submit, read, wait, cancel, try again' },
  { name: 'live', description: 'Server-sent events' },
  { name: 'facade', description: 'One synchronous call' },
  { name: 'artifacts', description: 'Files that jobs left, and datasets for them' },
  { name: 'services', description: 'What can be called, and where it runs' },
  { name: 'operations', description: 'For those who run Ergon' },
  { name: 'health', description: 'For load balancers' },
]

/** The page runs its own scripts and loads its own files, over http as over https, and nothing else. Swagger UI styles inline. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** Serves `/openapi.json`, made from the very schemas that requests are checked with, and `/docs`, a page made from it. */
export async function serveDescription(app: ApiApp, version: string): Promise<void> {
  const zodToJsonConfig = { override: toOpenApi }
  const toJsonSchemas = createJsonSchemaTransform({ zodToJsonConfig })
  const addComponents = createJsonSchemaTransformObject({ zodToJsonConfig })
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Ergon',
        version,
        description: DESCRIPTION,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      tags: TAGS,
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'ergon_<id>_<secret>',
            description: '`ergon tokens create` makes one',
          },
          signature: {
            type: 'apiKey',
            in: 'query',
            name: 'signature',
            description: 'Part of an address that `POST /v1/artifacts/{artifact_id}/signed-url` gave',
          },
        },
      },
      security: [{ token: [] }],
    },
    transform: (document) => {
      const { schema, url } = toJsonSchemas(document)
      return { schema: schema.hide === true ? schema : { ...schema, ...describeAccess(document.route) }, url }
    },
    transformObject: (document) => tidyDocument(addComponents(document) as OpenApiDocument) as never,
  })
  await app.register(swaggerUi, {
    routePrefix: DOCS,
    staticCSP: PAGE_POLICY,
    uiConfig: { docExpansion: 'list', tryItOutEnabled: false, persistAuthorization: false, validatorUrl: null },
  })
  app.get('/openapi.json', { config: { access: 'public' }, schema: { hide: true } }, () => app.swagger())
}

/**
 * Says of objects that come in that they take no other fields, as `checkPart` has it, and does not say so of those that go
 * out, where zod does: it closes objects in answers, and those in requests not. Patterns that a format stands for are left out.
 */
function toOpenApi({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: z.core.$ZodType
  jsonSchema: z.core.JSONSchema.BaseSchema
}) {
  if (jsonSchema.format !== undefined) delete jsonSchema.pattern
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  if (!(zodSchema instanceof z.ZodObject) || zodSchema.def.catchall !== undefined) return
  if (jsonSchema.additionalProperties === undefined) jsonSchema.additionalProperties = false
  else delete jsonSchema.additionalProperties
}
