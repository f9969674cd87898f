import { readFileSync } from 'node:fs'
import path from 'node:path'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { TestEngine } from '../../src/testing/docker-engine.ts'
import { databaseUrlOf, type Ended, ErgonHome } from './ergon.ts'
import { leftoversAfter } from './leftovers.ts'

const HOSTILE_NAME = `'); drop table commerce.orders; -- $$ {{ \${HOME} $(id) \\ " 🎁`

const reportSchema = z.object({
  example: z.literal('commerce'),
  ok: z.boolean(),
  steps: z.array(
    z.object({ step: z.string(), outcome: z.string(), ids: z.record(z.string(), z.string()).default({}) }),
  ),
  charges: z.array(
    z.object({ charge_id: z.string(), reference: z.string(), customer: z.string(), amount: z.number() }),
  ),
})

const home = new ErgonHome()
let engine: TestEngine
let without: Ended
let run: Ended
let report: z.infer<typeof reportSchema>
let db: pg.Client

/** Two runs in one data folder, as a user would: without a container engine, then with one. What they left is looked at through a stack of its own. */
beforeAll(async () => {
  ;[engine, without] = await Promise.all([TestEngine.start(), home.run('examples', 'run', 'commerce')])
  await engine.importBusybox('ergon-example/busybox:1')
  home.env['ERGON_DOCKER_HOST'] = engine.url
  run = await home.run('examples', 'run', 'commerce', '--json')
  report = reportSchema.parse(JSON.parse(run.stdout))
  home.env['ERGON_DOCKER_HOST'] = ''
  db = await home.connect(databaseUrlOf((await home.start('dev')).line))
  // Three stacks one after the other, on a machine that may have other things to do.
}, 300_000)
afterAll(async () => {
  await engine?.stop()
  await home.remove()
  expect(await leftoversAfter(home, 10_000)).toEqual([])
})

const idsOf = (step: string) => report.steps.find((each) => each.step === step)?.ids ?? {}
const read = async (sql: string, ...values: unknown[]) => (await db.query(sql, values)).rows
const orderRow = (id: unknown) => read('select * from commerce.orders where id = $1', id)
const jobsOf = (order: unknown) =>
  read(
    `select operation, execution_type, status from jobs.tb_job_run where entity_pk = $1 order by created_at, operation`,
    order,
  )

describe('ergon examples run commerce', () => {
  it('holds in every step', () => {
    expect(report.steps.map(({ step, outcome }) => `${step}: ${outcome}`)).toEqual([
      'order placed: held',
      'payment charged: held',
      'invoice drawn: held',
      'stock exported: held',
      'thumbnail made: held',
      'roll back: held',
      'pay twice: held',
      'payment refused: held',
      'hostile name: held',
      'books agree: held',
    ])
    expect({ code: run.code, ok: report.ok }).toEqual({ code: 0, ok: true })
  })

  it('takes an order through its whole life, by jobs of four kinds', async () => {
    const { order } = idsOf('order placed')
    const [charge] = report.charges.filter(({ reference }) => reference === order)
    expect(await orderRow(order)).toEqual([
      expect.objectContaining({
        customer_name: 'Ada Example',
        total: '18.90',
        payment_status: 'paid',
        charge_id: charge?.charge_id,
        invoice_number: `INV-${order?.slice(0, 8).toUpperCase()}`,
        stock_exported_at: expect.any(Date),
        thumbnail_made_at: expect.any(Date),
      }),
    ])
    expect(charge?.amount).toBe(18.9)
    expect(await jobsOf(order)).toEqual([
      { operation: 'create_charge', execution_type: 'http', status: 'completed' },
      { operation: 'draw', execution_type: 'sandbox', status: 'completed' },
      { operation: 'export_stock', execution_type: 'shell', status: 'completed' },
      { operation: 'make', execution_type: 'docker', status: 'completed' },
    ])
  })

  it('leaves an invoice and a thumbnail that can be fetched', async () => {
    const fetched = async (step: string, name: string) => {
      const file = path.join(home.folder, name)
      expect(await home.run('artifacts', 'get', idsOf(step)['artifact'] ?? '', '--out', file)).toMatchObject({
        code: 0,
      })
      return readFileSync(file, 'latin1')
    }
    expect(await fetched('invoice drawn', 'invoice.pdf')).toMatch(/^%PDF-1\.\d[^]*%%EOF\s*$/)
    expect(await fetched('thumbnail made', 'thumbnail.svg')).toMatch(
      /^<svg [^]*fill="rgb\(11,11,243\)"\/>[^]*<\/svg>\s$/,
    )
  })

  it('leaves nothing of the order that was rolled back', async () => {
    const { order, job } = idsOf('roll back')
    expect(order).toMatch(/^[0-9a-f-]{36}$/)
    expect(await orderRow(order)).toEqual([])
    expect(await read('select 1 from jobs.tb_job_run where id = $1 or entity_pk = $2', job, order)).toEqual([])
    expect(report.charges.filter(({ reference }) => reference === order)).toEqual([])
  })

  it('charges once for a call that came twice', async () => {
    const { order } = idsOf('order placed')
    expect(report.charges.filter(({ reference }) => reference === order)).toHaveLength(1)
    expect((await jobsOf(order)).filter((job) => job.operation === 'create_charge')).toHaveLength(1)
  })

  it('tells the order that its payment was refused', async () => {
    const { order } = idsOf('payment refused')
    expect(await orderRow(order)).toMatchObject([{ payment_status: 'failed', charge_id: null, invoice_number: null }])
    expect(await jobsOf(order)).toEqual([{ operation: 'create_charge', execution_type: 'http', status: 'failed' }])
  })

  it('keeps a hostile name as it was given, in row, job and charge', async () => {
    const { order, job } = idsOf('hostile name')
    expect(await orderRow(order)).toMatchObject([{ customer_name: HOSTILE_NAME, payment_status: 'paid' }])
    expect(
      await read(`select input_data #>> '{body,customer}' as customer from jobs.tb_job_run where id = $1`, job),
    ).toEqual([{ customer: HOSTILE_NAME }])
    expect(report.charges.filter(({ reference }) => reference === order)).toMatchObject([{ customer: HOSTILE_NAME }])
  })

  it('says without a container engine what it leaves out and what to set, and keeps its tables for the next run', async () => {
    expect(without.code).toBe(0)
    expect(without.stdout).toMatch(/^left out {2}thumbnail made\n.*ERGON_DOCKER_HOST.*import-image/m)
    expect(without.stdout).toContain('9 held, 0 failed, 1 left out.')
    // Three of each run: one whole, one refused, one hostile.
    expect(await read('select count(*)::integer as orders from commerce.orders')).toEqual([{ orders: 6 }])
    expect(await read('select count(*)::integer as owed from jobs.tb_job_callback')).toEqual([{ owed: 0 }])
  })

  it('starts nothing beside a stack that runs already, nor in a database of somebody else', async () => {
    const beside = await home.run('examples', 'run', 'commerce')
    expect(beside).toMatchObject({ code: 3, stderr: expect.stringContaining('(ALREADY_RUNNING)') })
    home.env['DATABASE_URL'] = 'postgres://somebody@127.0.0.1:1/theirs'
    const theirs = await home.run('examples', 'run', 'commerce', '--json')
    delete home.env['DATABASE_URL']
    expect(theirs.code).toBe(2)
    expect(JSON.parse(theirs.stdout)).toMatchObject({
      error: { code: 'USAGE', message: expect.stringContaining('DATABASE_URL=') },
    })
  })
})

it('ergon examples list tells the examples with their folders', async () => {
  const { code, stdout } = await home.run('examples', 'list', '--json')
  const folder = path.join(import.meta.dirname, '../../../../examples/commerce')
  expect({ code, listed: JSON.parse(stdout) }).toMatchObject({ code: 0, listed: [{ name: 'commerce', folder }] })
})
