import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { homePaths } from '../../config/home-paths.ts'
import type { Settings } from '../../config/settings.ts'
import { createPool } from '../../platform/db/database.ts'
import { createLogger } from '../../platform/logger.ts'
import { createControlPlane } from '../create-control-plane.ts'
import { LocalStack } from '../local-stack.ts'
import { whyNotServed } from '../served-lanes.ts'
import { StackServer } from '../stack-server.ts'
import { commerceSteps } from './commerce.ts'
import type { Example } from './example-catalogue.ts'
import { runSteps, type StepReport } from './example-step.ts'
import { type Charge, PaymentServer } from './payment-server.ts'
import { Shop } from './shop.ts'

export interface RunCommerceOptions {
  example: Example
  /** With the example's registry. */
  settings: Settings
  env: Readonly<Record<string, string | undefined>>
  /** What the example's entity files were compiled to. */
  compiled: readonly string[]
  /** Ends the run: it throws the signal's reason once everything that was started has ended. */
  signal: AbortSignal
  onReport: (report: StepReport) => void
}

export interface CommerceReport {
  steps: StepReport[]
  /** What the payment server took; null when it no longer answers. */
  charges: Charge[] | null
}

export function registryOf({ folder }: Example): string {
  return path.join(folder, 'registry.yaml')
}

/** Starts the example's payment server and a stack with its registry, lets an order live, and ends both. */
export async function runCommerce(options: RunCommerceOptions): Promise<CommerceReport> {
  const tables = await readFile(path.join(options.example.folder, 'tables.sql'), 'utf8')
  const payments = await PaymentServer.start(path.join(options.example.folder, 'payments/server.mjs'))
  try {
    return await withStack(options, payments, async (databaseUrl) => {
      const db = createPool(databaseUrl, { maxConnections: 2, applicationName: 'ergon-example' })
      try {
        const { settings, signal, onReport } = options
        const shop = new Shop(db, createControlPlane(db, homePaths(settings)), signal)
        await shop.migrate([tables, ...options.compiled])
        const charges = () => payments.charges()
        const steps = await runSteps(
          commerceSteps({ shop, charges, whyNoThumbnail: whyNoThumbnail(options) }),
          onReport,
          signal,
        )
        return { steps, charges: await charges().catch(() => null) }
      } finally {
        await db.end()
      }
    })
  } finally {
    await payments.stop()
  }
}

/** A stack of this process: the registry's references have values that no running one can know. */
async function withStack<T>(
  { settings, env, signal }: RunCommerceOptions,
  { url, token }: PaymentServer,
  work: (databaseUrl: string) => Promise<T>,
): Promise<T> {
  const paths = homePaths(settings)
  const references = { COMMERCE_PAYMENTS_URL: url, COMMERCE_PAYMENTS_TOKEN: token }
  const logger = createLogger('ergon', settings.logLevel)
  const stack = new LocalStack({ settings, paths, logger, env: { ...env, ...references } })
  await stack.prepare()
  const server = new StackServer(stack, paths, null)
  await server.start()
  try {
    const { databaseUrl } = await stack.ensure('worker')
    signal.throwIfAborted()
    return await work(databaseUrl ?? '')
  } finally {
    await server.stop(() => stack.stop())
  }
}

function whyNoThumbnail({ example, settings }: RunCommerceOptions): string | null {
  const reason = whyNotServed('docker', settings)
  if (reason === null) return null
  const importImage = path.join(example.folder, '../registry/import-image')
  return `${reason}. Set it to an engine, unix:///run/docker.sock for instance, and run ${importImage}, which gives it the image`
}
