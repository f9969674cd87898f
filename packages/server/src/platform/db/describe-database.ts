import pg from 'pg'

/** Host (or socket folder), port and database of a connection URL, as pg reads it; never user or password. */
export function describeDatabase(url: string): string {
  const { host, port, database } = new pg.Client({ connectionString: url })
  return `${host}:${port}/${database ?? ''}`
}
