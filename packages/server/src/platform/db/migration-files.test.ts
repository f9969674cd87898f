import { describe, expect, it } from 'vitest'
import { readMigrations, splitOnline } from './migration-files.ts'

describe('readMigrations', () => {
  it('finds every migration, numbered without a gap', async () => {
    const versions = (await readMigrations()).map(({ version }) => version)
    expect(versions.length).toBeGreaterThan(0)
    expect(versions).toEqual(versions.map((_, index) => index + 1))
  })
})

describe('splitOnline', () => {
  it('gives each statement without its comments, and knows which are repeated', () => {
    const sql =
      "-- ergon: online.\n\n-- ergon: repeat until nothing changes\nupdate a\nset b = ';';\n\nselect 1;\n-- the end\n"
    expect(splitOnline(sql)).toEqual([
      { sql: "update a\nset b = ';'", isRepeated: true },
      { sql: 'select 1', isRepeated: false },
    ])
  })
})
