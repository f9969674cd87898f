import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'

/** The folder of the migrations, the same distance from `src` and from `dist`. */
export const SQL_FOLDER = path.join(import.meta.dirname, '../../../sql')

export interface Migration {
  version: number
  name: string
  sql: string
  /** SHA-256 of the file; a recorded migration whose file changed is refused. */
  checksum: string
  /** Statements that commit one by one instead of one transaction for the file. */
  isOnline: boolean
}

export interface OnlineStatement {
  sql: string
  /** To be repeated until it changes no row. */
  isRepeated: boolean
}

const FILE_NAME = /^(\d{6})_(\w+)\.sql$/
const ONLINE_MARK = /^-- ergon: online\b/m
const REPEAT_MARK = /^-- ergon: repeat until nothing changes$/m

/** Every migration of this build, in order. */
export async function readMigrations(folder = SQL_FOLDER): Promise<Migration[]> {
  const migrations: Migration[] = []
  for (const file of (await readdir(folder)).toSorted()) {
    const [, version, name] = FILE_NAME.exec(file) ?? []
    if (version === undefined || name === undefined) continue
    const sql = await readFile(path.join(folder, file), 'utf8')
    const checksum = createHash('sha256').update(sql).digest('hex')
    migrations.push({ version: Number(version), name, sql, checksum, isOnline: ONLINE_MARK.test(sql) })
  }
  return migrations
}

/** The two files that frame the migrations when an older schema is adopted. */
export async function readAdoption(folder = SQL_FOLDER): Promise<{ prepare: string; finish: string }> {
  const read = (file: string) => readFile(path.join(folder, 'adoption', file), 'utf8')
  return { prepare: await read('1_prepare.sql'), finish: await read('2_finish.sql') }
}

/** Splits an online migration, in which a semicolon at the end of a line ends a statement and nothing else. */
export function splitOnline(sql: string): OnlineStatement[] {
  return sql
    .split(/;\s*$/m)
    .map((part) => ({ sql: part.replace(/^--.*$/gm, '').trim(), isRepeated: REPEAT_MARK.test(part) }))
    .filter((statement) => statement.sql !== '')
}
