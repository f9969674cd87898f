import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import { findSigningKey } from '../../app/find-signing-key.ts'
import { homePaths } from '../../config/home-paths.ts'
import { loadSettings } from '../../config/load-settings.ts'
import { readExport } from '../../control/audit-export.ts'
import type { UnsealedRows } from '../../control/audit-trail.ts'
import { type AuditReport, verifyAuditTrail, type VerifyTrailOptions } from '../../control/verify-audit-trail.ts'
import { openSigningKey, openVerifyingKey, type VerifyingKey } from '../../platform/crypto/signing-key.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { repeat } from '../parse-options.ts'
import { withDatabase } from '../with-database.ts'

interface VerifyOptions {
  since?: Date
  file?: string
  publicKey: string[]
  head?: { number: string; digest: string }
  json: boolean
}

export function addAuditCommand(program: Command): void {
  const audit = program.command('audit').description('check, export the audit trail; show the key that its seals need')

  audit
    .command('verify')
    .description('compute every digest, link and signature of the audit trail again, and name the first that is wrong')
    .option('--since <time>', 'only seals made then or later, for instance 2030-01-31 or 2030-01-31T12:00Z', parseTime)
    .option('--file <file>', 'what `ergon audit export` wrote, instead of the database')
    .option('--public-key <file>', 'a key that seals may be signed by (repeatable; default: our own)', repeat, [])
    .option('--head <number:digest>', 'a seal that an earlier check named as newest; it must still be there', parseHead)
    .option('--json', 'one JSON object {seals, entries, unsealed, head, fault}', false)
    .addHelpText(
      'after',
      '\nExamples:\n  ergon audit verify\n  ergon audit verify --file trail.jsonl --public-key ergon.pub\n\nExit status: 0 all is as it was sealed, 1 not, 2 there is no key or no such file.',
    )
    .action(async (options: VerifyOptions) => {
      const report =
        options.file === undefined ? await verifyDatabase(options) : await verifyFile(options, options.file)
      process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : summarise(report))
      if (report.fault !== null) process.exitCode = 1
    })

  audit
    .command('export')
    .description('write the audit trail as JSON lines: entries, each range of them followed by its seal')
    .option('--since <time>', 'only seals made then or later, with their entries', parseTime)
    .addHelpText('after', '\nExample:\n  ergon audit export > trail.jsonl')
    .action(async ({ since }: { since?: Date }) => {
      await withDatabase('database', async ({ control }) => {
        for await (const line of control.exportAudit(since ?? null)) {
          if (!process.stdout.write(line)) await new Promise((resolve) => process.stdout.once('drain', resolve))
        }
      })
    })

  audit
    .command('public-key')
    .description('print the public key that checks the seals made with the key of this data folder or of the settings')
    .addHelpText('after', '\nExample:\n  ergon audit public-key > ergon.pub')
    .action(async () => {
      process.stdout.write(openSigningKey(await requireOwnKey()).publicKeyPem)
    })
}

async function verifyDatabase(options: VerifyOptions): Promise<AuditReport> {
  const checks = await optionsOf(options)
  return withDatabase('database', ({ control }) =>
    verifyAuditTrail(control.readSealedRanges(options.since ?? null), checks, () => control.countUnsealedRows()),
  )
}

async function verifyFile(options: VerifyOptions, file: string): Promise<AuditReport> {
  const checks = await optionsOf(options)
  const input = createReadStream(file)
  const failed = new Promise<never>((_, reject) => {
    input.on('error', (error) => reject(new ErgonError('FILE_UNREADABLE', `--file: ${error.message}`)))
  })
  let unsealed: UnsealedRows = { count: 0, oldest: null }
  const ranges = readExport(createInterface({ input, crlfDelay: Infinity }), file, (rows) => {
    const [oldest] = rows.map(({ recorded_at: at }) => at).toSorted()
    unsealed = { count: rows.length, oldest: oldest === undefined ? null : new Date(oldest) }
  })
  return Promise.race([verifyAuditTrail(ranges, checks, () => unsealed), failed])
}

async function optionsOf({ publicKey, since, head }: VerifyOptions): Promise<VerifyTrailOptions> {
  const keys: VerifyingKey[] = []
  for (const file of publicKey) {
    const pem = await readFile(file, 'utf8').catch((error: unknown) => {
      throw new ErgonError('FILE_UNREADABLE', `--public-key: ${error instanceof Error ? error.message : String(error)}`)
    })
    keys.push(openVerifyingKey(pem, file))
  }
  if (keys.length === 0) keys.push(openVerifyingKey(await requireOwnKey(), 'the signing key'))
  return {
    keys: new Map(keys.map((key) => [key.keyId, key])),
    isFromBeginning: since === undefined,
    expectedHead: head ?? null,
  }
}

async function requireOwnKey(): Promise<string> {
  const { settings } = loadSettings(process.env)
  const paths = homePaths(settings)
  const pem = await findSigningKey(settings, paths)
  if (pem !== null) return pem
  throw new ErgonError(
    'SIGNING_KEY_INVALID',
    `there is no signing key: neither ERGON_SIGNING_KEY_FILE nor ${paths.signingKey}. \`ergon audit verify\` takes the public half as --public-key FILE`,
  )
}

function summarise({ seals, entries, unsealed, head, fault }: AuditReport): string {
  const good = `${seals} ${seals === 1 ? 'seal' : 'seals'} with ${entries} ${entries === 1 ? 'entry' : 'entries'}`
  const waiting =
    unsealed.count === 0
      ? []
      : [
          `${unsealed.count} not sealed${unsealed.oldest === null ? '' : `, the oldest of ${unsealed.oldest.toISOString()}`}`,
        ]
  const lines =
    fault === null
      ? [`${good} as they were sealed`, ...(head === null ? [] : [`head ${head.number}:${head.digest}`])]
      : [`BROKEN at seal ${fault.seal}: ${fault.problem}`, `before it ${good} as they were sealed`]
  return `${[...lines, ...waiting].join('\n')}\n`
}

function parseTime(text: string): Date {
  const time = new Date(text)
  if (!Number.isNaN(time.getTime())) return time
  throw new ErgonError('USAGE', `--since is ${JSON.stringify(text)}; expected a time such as 2030-01-31T12:00Z`)
}

function parseHead(text: string): { number: string; digest: string } {
  const [, number, digest] = /^(\d{1,19}):([0-9a-f]{64})$/.exec(text) ?? []
  if (number !== undefined && digest !== undefined) return { number, digest }
  throw new ErgonError(
    'USAGE',
    `--head is ${JSON.stringify(text)}; expected NUMBER:DIGEST as \`ergon audit verify\` prints it`,
  )
}
