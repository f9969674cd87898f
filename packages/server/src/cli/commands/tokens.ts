import { TOKEN_SCOPES, type TokenScope } from '@ergon/contract'
import type { Command } from 'commander'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { parseNumber } from '../parse-options.ts'
import { formatTable } from '../terminal.ts'
import { withDatabase } from '../with-database.ts'
import { isUuid } from '../../platform/text/uuid.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'

const DAY_MS = 86_400_000

interface CreateOptions {
  name: string
  scopes: string
  tenant?: string
  allTenants: boolean
  expiresInDays?: number
  rateLimit?: number
  json: boolean
}

export function addTokensCommand(program: Command): void {
  const tokens = program.command('tokens').description('bearer tokens of the API')

  tokens
    .command('create')
    .description('make a token and print it, which is the only time that it can be seen')
    .requiredOption('--name <text>', 'what it is for; shown in lists and in the audit trail')
    .requiredOption('--scopes <list>', `what it may do: ${TOKEN_SCOPES.join(', ')}`)
    .option('--tenant <uuid>', 'the tenant whose jobs it sees and makes')
    .option('--all-tenants', 'see the jobs of every tenant, and of none', false)
    .option(
      '--expires-in-days <n>',
      'when it ends by itself; never by default',
      parseNumber('--expires-in-days', 0.001, 36_500, false),
    )
    .option('--rate-limit <n>', 'requests a minute, for each API process', parseNumber('--rate-limit', 1, 10_000_000))
    .option('--json', 'one JSON object {token_id, token}', false)
    .addHelpText(
      'after',
      '\nExamples:\n  ergon tokens create --name notebook --scopes submit,read,artifacts --tenant 6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10\n  ergon tokens create --name operations --scopes read,cancel,admin --all-tenants --expires-in-days 90',
    )
    .action((options: CreateOptions) => {
      const token = {
        name: options.name,
        scopes: parseScopes(options.scopes),
        tenantId: parseTenant(options),
        expiresAt: options.expiresInDays === undefined ? null : new Date(Date.now() + options.expiresInDays * DAY_MS),
        rateLimitPerMinute: options.rateLimit ?? null,
      }
      return withDatabase('database', async ({ control }) => {
        const { id, text } = await control.createToken(token)
        if (options.json) process.stdout.write(`${JSON.stringify({ token_id: id, token: text })}\n`)
        else {
          process.stderr.write(`token ${id}; keep it now, it is not shown again\n`)
          process.stdout.write(`${text}\n`)
        }
      })
    })

  tokens
    .command('list')
    .description('every token, without its secret')
    .option('--json', 'one JSON array', false)
    .addHelpText('after', '\nExample:\n  ergon tokens list')
    .action((options: { json: boolean }) =>
      withDatabase('database', async ({ control }) => {
        const found = await control.listTokens()
        if (options.json) process.stdout.write(`${JSON.stringify(found)}\n`)
        else if (found.length === 0) process.stdout.write('no tokens yet\n')
        else {
          const cells = found.map((each) => [
            each.token_id,
            each.name,
            each.scopes.join(','),
            each.tenant_id ?? 'all',
            each.revoked_at === null ? stateOf(each.expires_at) : 'revoked',
          ])
          process.stdout.write(formatTable([['ID', 'NAME', 'SCOPES', 'TENANT', 'STATE'], ...cells]))
        }
      }),
    )

  tokens
    .command('revoke')
    .description('end a token at once, wherever it is used')
    .argument('<id>', 'the token’s id')
    .addHelpText('after', '\nExample:\n  ergon tokens revoke 0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f')
    .action((id: string) =>
      withDatabase('database', async ({ control }) => {
        if (isUuid(id) && (await control.revokeToken(id))) return void process.stdout.write(`revoked ${id}\n`)
        throw new ErgonError(
          'TOKEN_NOT_FOUND',
          `there is no token ${JSON.stringify(id)} that still counts; \`ergon tokens list\` shows all`,
        )
      }),
    )
}

function stateOf(expiresAt: Date | null): string {
  if (expiresAt === null) return 'valid'
  return expiresAt.getTime() > Date.now() ? `valid until ${expiresAt.toISOString()}` : 'expired'
}

function parseScopes(text: string): TokenScope[] {
  return [...new Set(text.split(',').map((part) => part.trim()))].map((part) => {
    const scope = TOKEN_SCOPES.find((known) => known === part)
    if (scope !== undefined) return scope
    const similar = closestMatch(part, TOKEN_SCOPES)
    throw new ErgonError(
      'USAGE',
      `--scopes: there is no scope ${JSON.stringify(part)}${similar === undefined ? '.' : `; did you mean "${similar}"?`} Scopes: ${TOKEN_SCOPES.join(', ')}`,
    )
  })
}

/** One of both is said, so that nobody gets every tenant by forgetting. */
function parseTenant({ tenant, allTenants }: CreateOptions): string | null {
  if ((tenant !== undefined) === allTenants) throw new ErgonError('USAGE', 'say either --tenant UUID or --all-tenants')
  if (tenant !== undefined && !isUuid(tenant))
    throw new ErgonError('USAGE', `--tenant: ${JSON.stringify(tenant)} is no UUID`)
  return tenant?.toLowerCase() ?? null
}
