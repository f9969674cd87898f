import { z } from 'zod'
import { type AuditRow, auditRowSchema, auditSealSchema } from '../domain/audit-chain.ts'
import type { Database } from '../platform/db/database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { readSealedRanges, readUnsealedRows, type SealedRange } from './audit-trail.ts'

const lineSchema = z.discriminatedUnion('type', [
  auditRowSchema.extend({ type: z.literal('entry') }),
  auditSealSchema.extend({ type: z.literal('seal') }),
])

/** The trail as JSON lines: the entries of a seal, then the seal; in the end what is not sealed yet. */
export async function* exportAudit(db: Database, since: Date | null): AsyncGenerator<string> {
  for await (const { seal, rows } of readSealedRanges(db, since)) {
    for (const row of rows) yield lineOf('entry', row)
    yield lineOf('seal', seal)
  }
  for await (const row of readUnsealedRows(db)) yield lineOf('entry', row)
}

function lineOf(type: 'entry' | 'seal', fields: object): string {
  return `${JSON.stringify({ type, ...fields })}\n`
}

/** What `exportAudit` wrote; throws FILE_UNREADABLE for a line that it did not. `onUnsealed` gets what no seal follows. */
export async function* readExport(
  lines: AsyncIterable<string>,
  file: string,
  onUnsealed: (rows: readonly AuditRow[]) => void,
): AsyncGenerator<SealedRange> {
  let rows: AuditRow[] = []
  let number = 0
  for await (const text of lines) {
    number++
    if (text === '') continue
    const { type, ...fields } = parseLine(text, `${file}:${number}`)
    if (type === 'entry') rows.push(fields as AuditRow)
    else {
      yield { seal: auditSealSchema.parse(fields), rows }
      rows = []
    }
  }
  onUnsealed(rows)
}

function parseLine(text: string, place: string): z.infer<typeof lineSchema> {
  try {
    const parsed = lineSchema.safeParse(JSON.parse(text))
    if (parsed.success) return parsed.data
  } catch {
    // Not JSON.
  }
  throw new ErgonError('FILE_UNREADABLE', `${place} is no line of \`ergon audit export\``)
}
