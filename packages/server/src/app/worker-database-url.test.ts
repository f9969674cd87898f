import { mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { scramVerifier } from './scram-verifier.ts'
import { workerDatabaseUrl } from './worker-database-url.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-credentials-'))
})
afterEach(() => rm(folder, { recursive: true }))

it("derives the verifier of RFC 7677's example", async () => {
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
  expect(await scramVerifier('pencil', salt)).toBe(
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
  )
})

it.each(['ergon_worker', 'ergon_callback'] as const)(
  'sends no statement with the password of %s in it',
  async (group) => {
    const statements: string[] = []
    const query = async (text: string) => {
      statements.push(text)
      return { rows: [], rowCount: 0 }
    }
    const url = new URL(await workerDatabaseUrl({ query }, 'postgresql://me:mine@localhost/app', folder, group))
    const password = await readFile(path.join(folder, `${group}.password`), 'utf8')
    expect(url.username).toMatch(new RegExp(`^${group}_[0-9a-f]{16}$`))
    expect(url.password).toBe(password)
    expect(statements.at(-1)).toContain(`create role ${url.username} login`)
    expect(statements.at(-1)).toMatch(new RegExp(` in role ${group}$`))
    expect(statements.join()).toContain('SCRAM-SHA-256$')
    expect(statements.join()).not.toContain(password)
  },
)
