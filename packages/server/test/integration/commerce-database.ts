import { randomUUID } from 'node:crypto'
import { compileTexts } from '../../src/compiler/compiler.fixture.ts'
import type { Database, DatabasePool } from '../../src/platform/db/database.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { scalar } from './queue-fixture.ts'

/** The application's tables, made by its own migration; the application itself signs in with no more than it needs. */
export class CommerceDatabase {
  readonly db: TestDatabase
  readonly app: DatabasePool

  private constructor(db: TestDatabase) {
    this.db = db
    this.app = db.as('ergon_enqueue')
  }

  static async create(): Promise<CommerceDatabase> {
    const db = await createTestDatabase()
    await db.admin.query(`
    create schema commerce;
    create table commerce."order" (
      id uuid primary key default gen_random_uuid(), customer_id uuid, total numeric, quantity integer, status text default 'new',
      note text, placed_at timestamptz, meta jsonb, tags text[], is_paid boolean, revision integer default 1, charge_id text,
      local_at timestamp, due date, weight double precision);
    create table commerce.order_log (id uuid primary key default gen_random_uuid(), order_id uuid, text text);
    grant usage on schema commerce to ergon_enqueue;
    grant select, insert, update on all tables in schema commerce to ergon_enqueue`)
    return new CommerceDatabase(db)
  }

  drop(): Promise<void> {
    return this.db.drop()
  }

  /** Creates the functions and gives a caller of `act`, whose arguments are SQL parameters. */
  async compile(...texts: string[]): Promise<(args: readonly unknown[], on?: Database) => Promise<unknown>> {
    await this.db.admin.query('drop function if exists commerce.act')
    await this.db.admin.query(compileTexts(texts))
    return (args, on = this.app) =>
      scalar(on, `select commerce.act(${args.map((_, index) => `$${index + 1}`).join(', ')})`, args)
  }

  async newOrder(columns: Record<string, unknown> = {}): Promise<string> {
    const row = { customer_id: randomUUID(), total: '10.50', ...columns }
    const names = Object.keys(row)
    const values = names.map((_, index) => `$${index + 1}`)
    const statement = `insert into commerce."order" (${names.join(', ')}) values (${values.join(', ')}) returning id`
    return String(await scalar(this.app, statement, Object.values(row)))
  }
}

/** A step that charges `$order`; what else it says, and `}`, follow. */
export const CHARGE = `- call_service: {service: stripe, operation: create_charge, input: {amount: $order.total, customer: $order.customer_id, note: $order.note}`
export const LOG = `entity: OrderLog\nschema: commerce\nfields: {order_id: uuid, text: text}\n`
