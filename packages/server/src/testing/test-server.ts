/** The migrated database that test databases are cloned from. */
export const TEMPLATE_DATABASE = 'ergon_template'

/** What the global set-up tells the tests. */
export interface TestServer {
  adminUrl: string
}

/** The same server and user, another database. */
export function withDatabase(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.toString()
}
