import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { ErgonError } from '../../platform/errors/ergon-error.ts'

const START_TIMEOUT_MS = 20_000
const STOP_TIMEOUT_MS = 5_000

const readySchema = z.object({ url: z.string().regex(/^http:\/\/127\.0\.0\.1:\d+$/) })
const ledgerSchema = z.object({
  requests: z.number(),
  charges: z.array(
    z.object({ charge_id: z.string(), amount: z.number(), reference: z.string(), customer: z.string() }),
  ),
})
export type Charge = z.infer<typeof ledgerSchema>['charges'][number]

/** The program of the example that takes payments, as a child that ends with us, however we end. */
export class PaymentServer {
  readonly url: string
  /** What its callers must know; a new one at each start. */
  readonly token: string
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, url: string, token: string) {
    this.#child = child
    this.url = url
    this.token = token
  }

  static async start(program: string): Promise<PaymentServer> {
    const token = randomBytes(24).toString('base64url')
    const child = spawn(process.execPath, [program], {
      cwd: '/',
      env: { COMMERCE_PAYMENTS_TOKEN: token },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    try {
      if (child.stdout === null) throw new Error('a pipe was asked for and not made')
      const line = once(createInterface({ input: child.stdout }), 'line').then(([text]) => String(text))
      const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`it ended with ${String(code)}`)))
      const late = sleep(START_TIMEOUT_MS, undefined, { ref: false }).then(() =>
        Promise.reject(new Error(`it said nothing within ${START_TIMEOUT_MS / 1_000} s`)),
      )
      for (const failure of [ended, late]) failure.catch(() => {})
      const said = await Promise.race([line, ended, late])
      return new PaymentServer(child, readySchema.parse(JSON.parse(said)).url, token)
    } catch (error) {
      child.kill('SIGKILL')
      const reason = error instanceof Error ? error.message : String(error)
      throw new ErgonError('PROCESS_FAILED', `the example's payment server ${program} did not start: ${reason}`)
    }
  }

  /** Every charge that was made since it started. */
  async charges(): Promise<Charge[]> {
    const response = await fetch(`${this.url}/charges`, { headers: { authorization: `Bearer ${this.token}` } })
    return ledgerSchema.parse(await response.json()).charges
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.stdin?.end()
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await ended
    clearTimeout(killer)
  }
}
