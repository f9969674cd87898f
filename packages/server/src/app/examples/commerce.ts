import { inTransaction } from '../../platform/db/transaction.ts'
import { type ExampleStep, requireThat } from './example-step.ts'
import type { Charge } from './payment-server.ts'
import type { NewOrder, Placed, Shop } from './shop.ts'

/** What a web form may be given, and nobody's SQL, JSON, shell or formula may take for its own. */
const HOSTILE_NAME = `'); drop table commerce.orders; -- $$ {{ \${HOME} $(id) \\ " \u{1f381}`

const PRINTS: NewOrder = {
  customerName: 'Ada Example',
  product: 'print-a4',
  quantity: 2,
  total: '18.90',
  picture: drawPicture(32),
}
/** More than the payment server lets anybody have. */
const TOO_MUCH = '20000.00'
const THUMBNAIL_SIZE = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8">'

export interface CommerceOptions {
  shop: Shop
  charges: () => Promise<Charge[]>
  /** Why the step that needs a container engine is left out; null when it is not. */
  whyNoThumbnail: string | null
}

/** The life of an order, and three ways in which one must not go wrong: each step looks at what it says. */
export function commerceSteps({ shop, charges, whyNoThumbnail }: CommerceOptions): ExampleStep[] {
  let placed: Placed = { order: '', job: '' }
  /** Orders of this run, by what became of them: others may be on their way since a run that was interrupted. */
  const paid: string[] = []
  const unpaid: string[] = []
  const chargesOf = async (order: string) => (await charges()).filter(({ reference }) => reference === order)
  return [
    {
      name: 'order placed',
      async run() {
        const before = await shop.countOrders()
        await inTransaction(shop.db, async (db) => {
          placed = await shop.place(db, PRINTS)
          requireThat((await shop.countJobs(db, placed.order)) === 1, 'the transaction does not see its job')
          requireThat((await shop.countJobs(shop.db, placed.order)) === 0, 'others see the job before the commit')
        })
        requireThat((await shop.countOrders()) === before + 1, 'the order is not in the table')
        const detail = `order ${placed.order}: its row and its job came with one commit`
        return { detail, look: [jobsShow(placed.job)], ids: { ...placed } }
      },
    },
    {
      name: 'payment charged',
      async run() {
        const order = await shop.until(placed.order, 'payment', ({ payment_status: status }) => status !== 'owed')
        const taken = await chargesOf(placed.order)
        requireThat(order.payment_status === 'paid', `payment_status is ${order.payment_status}, expected paid`)
        requireThat(
          taken.length === 1 && taken[0]?.charge_id === order.charge_id,
          `the server has ${taken.length} charges of the order, the order ${order.charge_id}`,
        )
        paid.push(placed.order)
        const detail = `the callback set payment_status = ${order.payment_status}, charge_id = ${order.charge_id}`
        return { detail, look: [jobsShow(placed.job)] }
      },
    },
    {
      name: 'invoice drawn',
      async run() {
        const { invoice_number: number } = await shop.until(placed.order, 'invoice', isInvoiced)
        const job = await shop.jobOf(placed.order, 'draw')
        const { artifact, bytes } = await shop.artifactOf(job)
        requireThat(bytes.subarray(0, 5).toString() === '%PDF-', `${artifact.metadata.name} is no PDF`)
        return {
          detail: `${number}: ${artifact.metadata.name}, ${bytes.length} bytes, by Python in a sandbox`,
          look: [`ergon artifacts get ${artifact.artifact_id} --out invoice.pdf`],
          ids: { job, artifact: artifact.artifact_id },
        }
      },
    },
    {
      name: 'stock exported',
      async run() {
        await shop.until(placed.order, 'stock export', isExported)
        const job = await shop.jobOf(placed.order, 'export_stock')
        const { artifact, bytes } = await shop.artifactOf(job)
        const line = `${PRINTS.product},-${PRINTS.quantity}`
        requireThat(bytes.toString() === `${line}\n`, `the export is ${JSON.stringify(bytes.toString().slice(0, 200))}`)
        return {
          detail: `${artifact.metadata.name} has the line ${line}, by a shell command in a sandbox`,
          look: [`ergon artifacts get ${artifact.artifact_id}`],
          ids: { job, artifact: artifact.artifact_id },
        }
      },
    },
    {
      name: 'thumbnail made',
      leftOut: whyNoThumbnail,
      async run() {
        const job = await shop.makeThumbnail(placed.order)
        await shop.until(placed.order, 'thumbnail', ({ thumbnail_made_at: at }) => at !== null)
        const { artifact, bytes } = await shop.artifactOf(job)
        requireThat(
          bytes.toString().startsWith(THUMBNAIL_SIZE),
          `the thumbnail begins with ${JSON.stringify(bytes.toString().slice(0, 80))}`,
        )
        return {
          detail: `${artifact.metadata.name}, 8 × 8 of 32 × 32, by a container without a network`,
          look: [`ergon artifacts get ${artifact.artifact_id} --out thumbnail.svg`],
          ids: { job, artifact: artifact.artifact_id },
        }
      },
    },
    {
      name: 'roll back',
      async run() {
        const before = await shop.countOrders()
        const dropped = await rollBack(shop)
        requireThat((await shop.countJobs(shop.db, dropped.order)) === 0, `job ${dropped.job} outlived its order`)
        requireThat((await shop.countOrders()) === before, `order ${dropped.order} outlived its transaction`)
        unpaid.push(dropped.order)
        const detail = `order ${dropped.order} is gone, and its job with it`
        return { detail, look: [`${jobsShow(dropped.job)}   (there is none)`], ids: { ...dropped } }
      },
    },
    {
      name: 'pay twice',
      async run() {
        const again = await shop.pay(placed.order)
        const jobs = await shop.countJobs(shop.db, placed.order, 'create_charge')
        const taken = await chargesOf(placed.order)
        requireThat(again === placed.job, `the second call gave job ${again}, the first ${placed.job}`)
        requireThat(jobs === 1 && taken.length === 1, `${jobs} jobs and ${taken.length} charges, expected one of each`)
        return { detail: `the second call gave the same job ${again}: one charge`, look: [jobsShow(again)] }
      },
    },
    {
      name: 'payment refused',
      async run() {
        const refused = await shop.place(shop.db, { ...PRINTS, total: TOO_MUCH })
        const order = await shop.until(refused.order, 'refusal', (row) => row.payment_status !== 'owed', true)
        requireThat(order.payment_status === 'failed', `payment_status is ${order.payment_status}, expected failed`)
        unpaid.push(refused.order)
        requireThat((await shop.countJobs(shop.db, refused.order)) === 1, 'a refused order was worked on')
        const detail = `the callback set payment_status = ${order.payment_status}: ${order.payment_error}`
        return { detail, look: [jobsShow(refused.job)], ids: { ...refused } }
      },
    },
    {
      name: 'hostile name',
      async run() {
        const others = [...paid, ...unpaid]
        const before = { orders: await shop.countOrders(), rest: await shop.fingerprint(others) }
        const hostile = await shop.place(shop.db, { ...PRINTS, customerName: HOSTILE_NAME })
        const order = await shop.until(hostile.order, 'hostile order', (row) => isInvoiced(row) && isExported(row))
        const [charge] = await chargesOf(hostile.order)
        requireThat(order.customer_name === HOSTILE_NAME, `it was stored as ${order.customer_name}`)
        requireThat(charge?.customer === HOSTILE_NAME, `it reached the payment server as ${charge?.customer}`)
        requireThat((await shop.countOrders()) === before.orders + 1, 'the table lost or won rows')
        requireThat((await shop.fingerprint(others)) === before.rest, 'other orders, tables or functions changed')
        paid.push(hostile.order)
        const detail = `a customer called ${HOSTILE_NAME} has a paid order, and nothing else changed`
        return { detail, look: [jobsShow(hostile.job)], ids: { ...hostile } }
      },
    },
    {
      name: 'books agree',
      async run() {
        const taken = (await charges()).map(({ reference }) => reference)
        const countOf = (order: string) => taken.filter((reference) => reference === order).length
        const wrong = [
          ...paid.filter((order) => countOf(order) !== 1),
          ...unpaid.filter((order) => countOf(order) !== 0),
        ]
        requireThat(wrong.length === 0, `charged were ${taken.join(', ')}; wrong is that of ${wrong.join(', ')}`)
        const detail = `one charge for each of ${paid.length} paid orders, none for what was refused or rolled back`
        return { detail, look: [] }
      },
    },
  ]
}

const isInvoiced = ({ invoice_number: number }: { invoice_number: string | null }) => number !== null
const isExported = ({ stock_exported_at: at }: { stock_exported_at: Date | null }) => at !== null
const jobsShow = (job: string) => `ergon jobs show ${job}`

async function rollBack(shop: Shop): Promise<Placed> {
  const dropped: Placed[] = []
  const changedMind = new Error('rolled back')
  await inTransaction(shop.db, async (db) => {
    const placed = await shop.place(db, PRINTS)
    requireThat((await shop.countJobs(db, placed.order)) === 1, 'the transaction does not see its job')
    dropped.push(placed)
    throw changedMind
  }).catch((error: unknown) => {
    if (error !== changedMind) throw error
  })
  const [placed] = dropped
  requireThat(placed !== undefined, 'nothing was placed')
  return placed
}

/** A square of colours as the text that the example's container reads. */
function drawPicture(size: number): string {
  const pixels = Array.from({ length: size * size }, (_, index) => {
    const across = Math.floor((255 * (index % size)) / size)
    const down = Math.floor((255 * Math.floor(index / size)) / size)
    return `${across} ${down} ${255 - across}`
  })
  return `P3 ${size} ${size} 255 ${pixels.join(' ')}`
}
