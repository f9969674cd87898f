import type { IncomingMessage } from 'node:http'
import path from 'node:path'
import { datasetSchema, MAX_DATASET_BYTES } from '@ergon/contract'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { Spool, type SpooledFile } from '../../artifacts/spool.ts'
import { addDataset } from '../../control/add-dataset.ts'
import { isFileName } from '../../control/describe-dataset.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { tenantFor } from '../principal.ts'
import { answer } from '../answers.ts'
import { refusals } from '../refusals.ts'

/** Uploads of one API process at a time, and of one token: each may fill MAX_DATASET_BYTES of its disk, slowly. */
const MAX_UPLOADS = 16
const MAX_OF_TOKEN = 4
/** How long one may take: 1 GiB at 10 Mbit/s. */
const UPLOAD_MS = 900_000

const uploadQuery = z.object({
  name: z
    .string()
    .refine(isFileName, 'expected a file name: up to 255 bytes without slashes and control characters')
    .describe('The file’s name; its extension says its format'),
  tenant_id: z.exactOptional(z.uuid()).describe('Only for tokens that are bound to no tenant'),
})
const uploadHeaders = z.object({
  'content-digest': z
    .exactOptional(z.string().max(1_000))
    .describe('`sha-256=:BASE64:` (RFC 9530): bytes that are not its are refused'),
})

export function addDatasetRoutes(app: ApiApp, context: ApiContext): void {
  const uploading: string[] = []
  // A context of its own, since its bodies are read by nobody but the route.
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
    scope.withTypeProvider<ZodTypeProvider>().put(
      '/v1/datasets',
      {
        config: { access: 'submit', bodyTimeMs: UPLOAD_MS, bodyMediaType: 'application/octet-stream' },
        schema: {
          operationId: 'putDataset',
          tags: ['artifacts'],
          summary: 'Upload a file that jobs of the tenant can name by its digest',
          description: `The body is the file, of any media type, at most ${MAX_DATASET_BYTES} bytes. Bytes that the tenant has already stay the dataset that they are.`,
          querystring: uploadQuery,
          headers: uploadHeaders,
          response: {
            201: answer(datasetSchema, 'It is new'),
            200: answer(datasetSchema, 'The tenant had it already'),
            ...refusals(400, 401, 403, 413, 415, 422, 429, 503),
          },
        },
      },
      async (request, reply) => {
        const { db, principal } = callerOf(request)
        const { name, tenant_id: stated } = request.query
        const tenantId = tenantFor(principal, stated ?? null)
        requireWelcome(request.raw)
        const ofToken = uploading.filter((tokenId) => tokenId === principal.tokenId).length
        if (ofToken >= MAX_OF_TOKEN || uploading.length >= MAX_UPLOADS)
          throw new ErgonError(
            'RATE_LIMITED',
            `${ofToken} uploads of the token are under way, and ${uploading.length} in all: try again when one has ended`,
          )
        uploading.push(principal.tokenId)
        const spool = new Spool(path.join(context.spool, request.id))
        try {
          const { path: file, digest, sizeBytes } = await receive(request.raw, spool, context.freeBytes)
          requireDigest(request.headers['content-digest'], digest)
          await context.storeArtifact(file, digest)
          const { dataset, isNew } = await addDataset(db, tenantId, { name, digest, sizeBytes })
          reply.code(isNew ? 201 : 200)
          return dataset
        } finally {
          uploading.splice(uploading.indexOf(principal.tokenId), 1)
          await spool.remove()
        }
      },
    )
  })
}

/** Refuses by its headers what is not taken anyway. */
function requireWelcome({ headers }: IncomingMessage): void {
  if (Number(headers['content-length'] ?? 0) > MAX_DATASET_BYTES) throw tooLarge()
  const { 'content-encoding': encoding = 'identity' } = headers
  if (encoding !== 'identity')
    throw new ErgonError(
      'MEDIA_TYPE_UNSUPPORTED',
      `Content-Encoding is ${encoding.slice(0, 100)}: a dataset is kept as it is sent, so send it as jobs are to read it`,
    )
}

/** What a disk keeps free for the database beside it, whoever uploads what. */
const KEPT_FREE_BYTES = 256 * 1024 * 1024
const LOOK_EVERY_BYTES = 64 * 1024 * 1024

/** Throws STORAGE_FULL before a disk is; `coming` bytes are stored twice for a moment, in the spool and under their digest. */
async function requireRoom(freeBytes: () => Promise<number>, coming: number): Promise<void> {
  if ((await freeBytes()) < 2 * coming + KEPT_FREE_BYTES)
    throw new ErgonError(
      'STORAGE_FULL',
      'there is too little room in the artifact store: remove files, or make it larger',
    )
}

async function receive(body: IncomingMessage, spool: Spool, freeBytes: () => Promise<number>): Promise<SpooledFile> {
  await requireRoom(freeBytes, Number(body.headers['content-length'] ?? 0))
  const writer = await spool.create(0)
  try {
    let size = 0
    // Who sends too much is still to read our answer.
    const chunks: AsyncIterable<Buffer> = body.iterator({ destroyOnReturn: false })
    for await (const chunk of chunks) {
      size += chunk.length
      if (size > MAX_DATASET_BYTES) throw tooLarge()
      if (Math.floor(size / LOOK_EVERY_BYTES) > Math.floor((size - chunk.length) / LOOK_EVERY_BYTES))
        await requireRoom(freeBytes, size)
      await writer.write(chunk)
    }
    return await writer.finish()
  } catch (error) {
    await writer.abandon()
    if (error instanceof ErgonError || !body.destroyed) throw error
    throw new ErgonError('BODY_INVALID', 'the connection ended before the body did', { cause: error })
  }
}

/** Of the algorithms that a Content-Digest may name we know one; it need not be there. */
function requireDigest(header: string | undefined, digest: string): void {
  const [, stated] = /(?:^|,) *sha-256=:([A-Za-z0-9+/]+={0,2}):/.exec(header ?? '') ?? []
  if (stated === undefined) return
  const expected = `sha256:${Buffer.from(stated, 'base64').toString('hex')}`
  if (expected !== digest)
    throw new ErgonError('DIGEST_MISMATCH', `the body is ${digest}, Content-Digest says ${expected.slice(0, 100)}`)
}

function tooLarge(): ErgonError {
  return new ErgonError('BODY_TOO_LARGE', `a dataset has at most ${MAX_DATASET_BYTES} bytes`)
}
