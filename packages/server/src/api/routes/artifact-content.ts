import type { Artifact } from '@ergon/contract'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { findArtifact } from '../../control/read-job.ts'
import type { Database } from '../../platform/db/database.ts'
import { TenantDatabase } from '../../platform/db/tenant-database.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { ApiContext } from '../api-context.ts'
import type { ApiApp } from '../api-app.ts'
import { matchesTag, readRange } from '../artifacts/byte-range.ts'
import { attachmentOf, contentTypeOf } from '../artifacts/content-disposition.ts'
import { requireSignature } from '../artifacts/signed-url.ts'
import { refusals } from '../refusals.ts'
import { artifactNotFound, artifactParams } from './artifacts.ts'

/** How long a reader may take nothing before it is cut off: it holds a file open. */
const STALL_MS = 60_000

/** Whatever a browser makes of the bytes, it does so without scripts and in nobody's origin. */
const SANDBOX = "sandbox; default-src 'none'; frame-ancestors 'none'"

const signedQuery = z.object({
  expires: z.exactOptional(z.string()).describe('Of a signed address, as it was given'),
  tenant: z.exactOptional(z.string()).describe('Of a signed address, as it was given'),
  signature: z.exactOptional(z.string()).describe('Of a signed address, as it was given: no token is needed then'),
})
const requestHeaders = z.object({
  range: z.exactOptional(z.string()).describe('One range of bytes; several are answered with the whole'),
  'if-range': z.exactOptional(z.string()),
  'if-none-match': z.exactOptional(z.string()),
})
const bytesSchema = z.any().meta({ type: 'string', contentMediaType: 'application/octet-stream' })
const bytesAnswer = (description: string) => ({ description, content: { '*/*': { schema: bytesSchema } } })

export function addArtifactContentRoute(app: ApiApp, context: ApiContext): void {
  for (const method of ['GET', 'HEAD'] as const)
    app.route({
      method,
      exposeHeadRoute: false,
      url: '/v1/artifacts/:artifact_id/content',
      config: { access: 'artifacts', isSignable: true },
      schema: {
        operationId: 'getArtifactContent',
        tags: ['artifacts'],
        summary: 'The bytes of an artifact, always as a download',
        description:
          'They are checked against their digest, which is the ETag, while they are sent; where they are not those of the digest, the connection is cut before the last of them.',
        params: artifactParams,
        querystring: signedQuery,
        headers: requestHeaders,
        response: {
          200: bytesAnswer('All bytes'),
          206: bytesAnswer('The range'),
          304: { description: 'The caller has them', content: { '*/*': { schema: bytesSchema } } },
          ...refusals(401, 403, 404, 410, 416, 422, 429),
        },
      },
      async handler(request, reply) {
        const { artifact_id: id } = request.params
        const { range: rangeHeader, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = request.headers
        const artifact = await findArtifact(await databaseOf(context, request, request.query, id), id)
        if (artifact === null) throw artifactNotFound(id)
        const tag = `"${artifact.digest}"`
        const headers = {
          etag: tag,
          'cache-control': 'private, no-cache',
          'content-security-policy': SANDBOX,
          'content-disposition': attachmentOf(artifact.metadata.name),
          'accept-ranges': 'bytes',
        }
        if (matchesTag(ifNoneMatch, tag)) return reply.code(304).headers(headers).send(null)
        const size = artifact.size_bytes
        const type = contentTypeOf(artifact.content_type)
        // Ranges are for GET alone, and nothing is read.
        if (method === 'HEAD') {
          await requireStored(context, artifact)
          return reply.headers(headers).header('content-length', size).type(type).send(null)
        }
        const asked = ifRange === undefined || ifRange === tag ? readRange(rangeHeader, size) : 'all'
        if (asked === 'unsatisfiable') {
          reply.header('content-range', `bytes */${size}`)
          throw new ErgonError('RANGE_NOT_SATISFIABLE', `the artifact has ${size} bytes, and none of the range`)
        }
        const range = asked === 'all' ? { start: 0, end: size - 1 } : asked
        await requireStored(context, artifact)
        const bytes = await context.openArtifact(artifact.digest, range)
        bytes.once('error', (error) =>
          context.logger.error({ err: error, requestId: request.id, artifact: id }, 'an artifact was not sent whole'),
        )
        reply.raw.setTimeout(STALL_MS, () => reply.raw.destroy())
        if (asked !== 'all') reply.header('content-range', `bytes ${range.start}-${range.end}/${size}`)
        return reply
          .code(asked === 'all' ? 200 : 206)
          .headers(headers)
          .header('content-length', range.end - range.start + 1)
          .type(type)
          .send(bytes)
      },
    })
}

/** What the caller sees, or the bearer of a signed address: rows of the artifact's tenant alone. */
async function databaseOf(
  { pool, signingKey }: ApiContext,
  { caller }: FastifyRequest,
  { expires, tenant, signature }: z.output<typeof signedQuery>,
  artifactId: string,
): Promise<Database> {
  if (caller !== null) return caller.db
  const query = {
    expires: /^[1-9]\d{0,11}$/.test(expires ?? '') ? Number(expires) : 0,
    tenant,
    signature: signature ?? '',
  }
  const { tenantId } = requireSignature(await signingKey(), artifactId, query, Date.now())
  return new TenantDatabase(pool, tenantId === null ? 'all' : { tenantId })
}

async function requireStored(
  { artifactSize }: ApiContext,
  { artifact_id: id, digest, size_bytes: size }: Artifact,
): Promise<void> {
  const stored = await artifactSize(digest)
  if (stored === null)
    throw new ErgonError(
      'ARTIFACT_GONE',
      `the bytes of artifact ${id} are not kept any more, or lie on another machine`,
    )
  // More or fewer bytes than were announced would be taken for the next answer, or waited for.
  if (stored !== size)
    throw new ErgonError(
      'ARTIFACT_CORRUPT',
      `${digest} is stored with ${stored} bytes, and was registered with ${size}`,
    )
}
