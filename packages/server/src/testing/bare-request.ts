import { Agent } from 'undici'

/** GETs URLs by nothing but undici, on connections that are used again: what every runner of requests pays too. */
export class BareClient {
  readonly #agent = new Agent({ allowH2: false })

  /** The answer's text; throws when its status is not 200. */
  async get(url: string): Promise<string> {
    const { origin, pathname: path } = new URL(url)
    const { statusCode, body } = await this.#agent.request({ origin, path, method: 'GET' })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`${url} was answered with ${statusCode}`)
    return text
  }

  close(): Promise<void> {
    return this.#agent.close()
  }
}
