import type { TokenScope } from '@ergon/contract'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { TenantScope } from '../platform/db/tenant-database.ts'

/** Who asks, once a token was believed. */
export interface Principal {
  tokenId: string
  tokenName: string
  scopes: readonly TokenScope[]
  tenant: TenantScope
  /** Requests a minute, null for the API's own limit. */
  rateLimitPerMinute: number | null
}

/** Throws SCOPE_MISSING, which names `what`: the request, or a field of it. */
export function requireScope(principal: Principal, scope: TokenScope, what = 'this'): void {
  if (principal.scopes.includes(scope)) return
  throw new ErgonError(
    'SCOPE_MISSING',
    `${what} needs the scope "${scope}", the token "${principal.tokenName}" has ${principal.scopes.join(', ')}`,
  )
}

/** The tenant that what is submitted belongs to; throws TENANT_MISMATCH for one that the token is not bound to. */
export function tenantFor({ tenant }: Principal, stated: string | null): string | null {
  if (tenant === 'all') return stated?.toLowerCase() ?? null
  if (stated === null || stated.toLowerCase() === tenant.tenantId) return tenant.tenantId
  throw new ErgonError(
    'TENANT_MISMATCH',
    `the request names the tenant ${stated}, the token is bound to ${tenant.tenantId}: leave it out, or use a token of that tenant`,
  )
}

/** Throws SCOPE_MISSING: for what belongs to no tenant. */
export function requireAllTenants({ tenant, tokenName }: Principal): void {
  if (tenant === 'all') return
  throw new ErgonError('SCOPE_MISSING', `this needs a token for all tenants, "${tokenName}" is bound to one`)
}
