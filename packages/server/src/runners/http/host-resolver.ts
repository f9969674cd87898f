import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'

/** The system's resolver has few threads, which the file system needs too: slow name servers get no more than these. */
const MAX_LOOKUPS = 2
const MAX_ADDRESSES = 16

export type LookUp = (hostname: string) => Promise<readonly string[]>

/** As every program of the machine resolves names, /etc/hosts included. */
const systemLookUp: LookUp = async (hostname) =>
  (await lookup(hostname, { all: true, order: 'verbatim' })).map(({ address }) => address)

/** A name that is asked for, or will be. */
interface Question extends PromiseWithResolvers<readonly string[]> {
  hostname: string
  /** The names whose servers are most likely the same ones. */
  zone: string
  askers: number
}

/**
 * Asks for the addresses of hosts: two names at a time, and each only once at a time. Remembers nothing. Two names of
 * one zone are not asked for at once, so that its slow servers leave room for others.
 */
export class HostResolver {
  readonly #lookUp: LookUp
  readonly #questions = new Map<string, Question>()
  readonly #waiting: Question[] = []
  /** Of the names that are being asked for: one each. */
  readonly #zones = new Set<string>()

  constructor(lookUp: LookUp = systemLookUp) {
    this.#lookUp = lookUp
  }

  /**
   * The addresses in the order to try them; never none. Rejects as the look-up does. The signal says that the asker has
   * given up: a name that nobody waits for any more is not asked for.
   */
  resolve(hostname: string, signal?: AbortSignal): Promise<readonly string[]> {
    const bare = hostname.replace(/^\[(.*)\]$/, '$1')
    if (isIP(bare) !== 0) return Promise.resolve([bare])
    const question = this.#questions.get(bare) ?? this.#add(bare)
    question.askers++
    signal?.addEventListener('abort', () => this.#giveUp(question), { once: true })
    this.#goOn()
    return question.promise
  }

  #add(hostname: string): Question {
    const zone = hostname.replace(/\.$/, '').split('.').slice(-2).join('.')
    const question = { hostname, zone, askers: 0, ...Promise.withResolvers<readonly string[]>() }
    this.#questions.set(hostname, question)
    this.#waiting.push(question)
    return question
  }

  #giveUp(question: Question): void {
    question.askers--
    const at = this.#waiting.indexOf(question)
    if (question.askers > 0 || at < 0) return
    this.#waiting.splice(at, 1)
    this.#questions.delete(question.hostname)
    question.reject(new Error(`nobody waits for the addresses of ${question.hostname} any more`))
  }

  #goOn(): void {
    while (this.#zones.size < MAX_LOOKUPS) {
      const at = this.#waiting.findIndex(({ zone }) => !this.#zones.has(zone))
      const [next] = at < 0 ? [] : this.#waiting.splice(at, 1)
      if (next === undefined) return
      this.#zones.add(next.zone)
      void this.#ask(next)
    }
  }

  async #ask({ hostname, zone, resolve, reject }: Question): Promise<void> {
    try {
      const addresses = await this.#lookUp(hostname)
      if (addresses.length > 0) resolve(addresses.slice(0, MAX_ADDRESSES))
      else reject(Object.assign(new Error(`${hostname} has no address`), { code: 'ENOTFOUND' }))
    } catch (error) {
      reject(error)
    } finally {
      this.#zones.delete(zone)
      this.#questions.delete(hostname)
      this.#goOn()
    }
  }
}
