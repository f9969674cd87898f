import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import { createPool, type DatabasePool } from '../platform/db/database.ts'
import type { TestRole } from './roles.ts'
import { TEMPLATE_DATABASE, withDatabase } from './test-server.ts'

/** One migrated database of a test file's own. */
export interface TestDatabase {
  /** As the superuser. */
  readonly admin: DatabasePool
  readonly adminUrl: string
  url(role: TestRole): string
  /** A pool that signs in as that role; closed with the database. */
  as(role: TestRole): DatabasePool
  /** Closes every pool and drops the database, whoever is still connected. */
  drop(): Promise<void>
}

/** Clones the migrated template; `empty` gives a database without any schema of ours instead. */
export async function createTestDatabase(options: { empty?: boolean } = {}): Promise<TestDatabase> {
  const server = inject('ergonTestServer')
  const name = `test_${randomBytes(6).toString('hex')}`
  await onServer(
    server.adminUrl,
    `create database ${name} template ${options.empty === true ? 'template0' : TEMPLATE_DATABASE}`,
  )
  const adminUrl = withDatabase(server.adminUrl, name)
  const pools = new Map<string, DatabasePool>()
  const pool = (url: string): DatabasePool => {
    const known = pools.get(url)
    if (known !== undefined) return known
    const made = createPool(url, { maxConnections: 20, applicationName: 'ergon-test' })
    pools.set(url, made)
    return made
  }
  const url = (role: TestRole): string => {
    const changed = new URL(adminUrl)
    changed.username = role
    changed.password = role
    return changed.toString()
  }
  return {
    admin: pool(adminUrl),
    adminUrl,
    url,
    as: (role) => pool(url(role)),
    async drop() {
      await Promise.all([...pools.values()].map((open) => open.end()))
      await onServer(server.adminUrl, `drop database ${name} with (force)`)
    },
  }
}

async function onServer(adminUrl: string, statement: string): Promise<void> {
  const admin = createPool(adminUrl, { maxConnections: 1, applicationName: 'ergon-test' })
  try {
    await admin.query(statement)
  } finally {
    await admin.end()
  }
}
