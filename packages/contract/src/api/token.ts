import { z } from 'zod'

/**
 * What a token may do: `submit` jobs and datasets; `entities`: say for which entity a submitted job is, and so whose
 * callbacks its end calls; `read` jobs, output, services; `cancel` and retry; `artifacts`: their bytes and signed
 * addresses; `admin`: workers, queue, dead letters of everybody the token sees.
 */
export const TOKEN_SCOPES = ['submit', 'entities', 'read', 'cancel', 'artifacts', 'admin'] as const
export type TokenScope = (typeof TOKEN_SCOPES)[number]

/** `ergon_`, the token's id in hexadecimal, and 32 random bytes in base64url. */
export const TOKEN_PATTERN: RegExp = /^ergon_([0-9a-f]{32})_([A-Za-z0-9_-]{43})$/

export const tokenScopeSchema = z.enum(TOKEN_SCOPES)
