import { artifactListSchema, artifactSchema, signedUrlRequestSchema, signedUrlSchema } from '@ergon/contract'
import { z } from 'zod'
import { recordIssuedUrl } from '../../control/issue-url.ts'
import { findArtifact, jobExists, listArtifacts } from '../../control/read-job.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { signUrl } from '../artifacts/signed-url.ts'
import { refusals } from '../refusals.ts'
import { jobNotFound, jobParams } from './job-parts.ts'

export const artifactParams = z.object({ artifact_id: z.uuid() })

export function artifactNotFound(id: string): ErgonError {
  return new ErgonError('ARTIFACT_NOT_FOUND', `there is no artifact ${id}, or it is not yours`)
}

export function addArtifactRoutes(app: ApiApp, { signingKey }: ApiContext): void {
  app.get(
    '/v1/jobs/:job_id/artifacts',
    {
      config: { access: 'read' },
      schema: {
        operationId: 'listArtifacts',
        tags: ['artifacts'],
        summary: 'The files that a job left, at most 1000, without their bytes',
        params: jobParams,
        response: { 200: artifactListSchema, ...refusals(401, 403, 404, 422, 429) },
      },
    },
    async (request) => {
      const { job_id: id } = request.params
      const { db } = callerOf(request)
      const items = await listArtifacts(db, id)
      if (items.length === 0 && !(await jobExists(db, id))) throw jobNotFound(id)
      return { items }
    },
  )

  app.get(
    '/v1/artifacts/:artifact_id',
    {
      config: { access: 'read' },
      schema: {
        operationId: 'getArtifact',
        tags: ['artifacts'],
        summary: 'What an artifact is',
        params: artifactParams,
        response: { 200: artifactSchema, ...refusals(401, 403, 404, 422, 429) },
      },
    },
    async (request) => {
      const { artifact_id: id } = request.params
      const artifact = await findArtifact(callerOf(request).db, id)
      if (artifact === null) throw artifactNotFound(id)
      return artifact
    },
  )

  app.post(
    '/v1/artifacts/:artifact_id/signed-url',
    {
      config: { access: 'artifacts' },
      schema: {
        operationId: 'signArtifactUrl',
        tags: ['artifacts'],
        summary:
          'An address that gives the bytes of one artifact to whoever has it, for some time; entered in the audit trail',
        params: artifactParams,
        body: signedUrlRequestSchema,
        response: { 201: signedUrlSchema, ...refusals(400, 401, 403, 404, 413, 415, 422, 429) },
      },
    },
    async (request, reply) => {
      const { artifact_id: id } = request.params
      const { db, principal } = callerOf(request)
      const expires = Math.floor(Date.now() / 1_000) + request.body.expires_in_seconds
      const expiresAt = new Date(expires * 1_000).toISOString()
      const issuer = { tokenId: principal.tokenId, tokenName: principal.tokenName, requestId: request.id }
      const owner = await recordIssuedUrl(db, id, expiresAt, issuer)
      if (owner === null) throw artifactNotFound(id)
      const url = signUrl(await signingKey(), { artifactId: id, tenantId: owner.tenantId, expires })
      return reply.code(201).send({ url, expires_at: expiresAt })
    },
  )
}
