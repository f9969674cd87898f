import { hash, randomBytes, randomUUID } from 'node:crypto'
import { type TokenScope, tokenScopeSchema } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

export interface NewToken {
  name: string
  scopes: readonly TokenScope[]
  /** Null is every tenant. */
  tenantId: string | null
  expiresAt: Date | null
  /** Null is the API's own limit. */
  rateLimitPerMinute: number | null
}

/** Makes a token and gives its text, which is kept nowhere: only a digest of its secret is. */
export async function createToken(db: Database, token: NewToken): Promise<{ id: string; text: string }> {
  const id = randomUUID()
  const secret = randomBytes(32)
  await db.query(
    `with made as (
       insert into jobs.tb_api_token (token_id, name, secret_digest, scopes, tenant_id, expires_at, rate_limit_per_minute)
       values ($1, $2, $3, $4, $5, $6, $7)
     )
     insert into jobs.tb_audit (entry) values ($8)`,
    [
      id,
      token.name,
      digestOf(secret),
      token.scopes,
      token.tenantId,
      token.expiresAt,
      token.rateLimitPerMinute,
      auditEntry('token_created', { id, name: token.name, scopes: token.scopes, tenant_id: token.tenantId }),
    ],
  )
  return { id, text: `ergon_${id.replaceAll('-', '')}_${secret.toString('base64url')}` }
}

/** What is kept of a token's secret. */
export function digestOf(secret: Buffer): Buffer {
  return hash('sha256', secret, 'buffer')
}

const tokenRowSchema = z.object({
  token_id: z.string(),
  name: z.string(),
  scopes: z.array(tokenScopeSchema),
  tenant_id: z.string().nullable(),
  rate_limit_per_minute: z.number().nullable(),
  created_at: z.date(),
  created_by: z.string(),
  expires_at: z.date().nullable(),
  revoked_at: z.date().nullable(),
})
export type TokenRow = z.infer<typeof tokenRowSchema>

/** Every token, the newest first; never a secret. */
export function listTokens(db: Database): Promise<TokenRow[]> {
  return queryRows(
    db,
    tokenRowSchema,
    `select token_id, name, scopes, tenant_id, rate_limit_per_minute, created_at, created_by, expires_at, revoked_at
     from jobs.tb_api_token order by created_at desc, token_id`,
    [],
  )
}

/** Ends a token at once, wherever it is used; false when there is none of that id that still counts. */
export async function revokeToken(db: Database, id: string): Promise<boolean> {
  const { rowCount } = await db.query(
    `with gone as (
       update jobs.tb_api_token set revoked_at = clock_timestamp() where token_id = $1 and revoked_at is null returning token_id
     )
     insert into jobs.tb_audit (entry) select $2 from gone`,
    [id, auditEntry('token_revoked', { id })],
  )
  return rowCount === 1
}

function auditEntry(event: string, token: object): string {
  return JSON.stringify({ format: 'ergon-audit/1', event, token })
}
