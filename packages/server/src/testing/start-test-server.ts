import { chmod, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { TestProject } from 'vitest/node'
import { createPool } from '../platform/db/database.ts'
import { migrate } from '../platform/db/migrate.ts'
import { EmbeddedPostgres } from '../platform/postgres/embedded-postgres.ts'
import { TEST_ROLES } from './roles.ts'
import { TEMPLATE_DATABASE, type TestServer, withDatabase } from './test-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    ergonTestServer: TestServer
  }
}

/** Vitest's global set-up: one server in a folder of its own for the whole run, with a migrated template to clone. */
export default async function startTestServer(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-test-'))
  // The server's user must pass through.
  await chmod(folder, 0o711)
  const server = new EmbeddedPostgres({
    home: path.join(folder, 'home'),
    cache: path.join(folder, 'cache'),
    osUser: 'ergon-postgres',
    port: null,
    logger: console,
    // Its data does not outlive the run. What must survive a crash is tested on a server of its own.
    settings: { fsync: 'off', full_page_writes: 'off', max_connections: '200' },
  })
  const stop = async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const adminUrl = await server.start()
    await createTemplate(adminUrl)
    project.provide('ergonTestServer', { adminUrl })
    return stop
  } catch (error) {
    await stop()
    throw error
  }
}

async function createTemplate(adminUrl: string): Promise<void> {
  const admin = createPool(adminUrl, { maxConnections: 1, applicationName: 'ergon-test' })
  await admin.query(`create database ${TEMPLATE_DATABASE}`)
  const template = createPool(withDatabase(adminUrl, TEMPLATE_DATABASE), {
    maxConnections: 1,
    applicationName: 'ergon-test',
  })
  await migrate(template)
  await template.end()
  for (const role of TEST_ROLES) await admin.query(`alter role ${role} login password '${role}'`)
  await admin.end()
}
