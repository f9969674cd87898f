import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ErgonHome } from './ergon.ts'
import { apiUrlOf } from './facade-client.ts'

const CHROMIUM = '/usr/bin/chromium-headless-shell'
const PLOT = `import matplotlib.pyplot as plt
plt.plot([1, 2, 4])
plt.savefig("/workspace/output/plot.png")
print("plotted")
`
/** A page as a client of the facade would be: it runs code and shows what it printed and drew. */
const PAGE = `<!doctype html><meta charset="utf-8"><pre id="stdout"></pre><div id="plots"></div><script type="module">
  window.run = async (address, code) => {
    const answer = await fetch(address + '/execute/python', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ code, timeoutSeconds: 30 }),
    })
    const { status, stdout, artifacts } = await answer.json()
    document.querySelector('#stdout').textContent = stdout
    for (const { dataUrl, filename } of artifacts) {
      const plot = new Image()
      plot.alt = filename
      plot.src = dataUrl
      await plot.decode()
      document.querySelector('#plots').append(plot)
    }
    return { httpStatus: answer.status, status }
  }
</script>`

/** `window.run` of the page, or what its fetch threw. */
function runIn(page: Page, address: string, code: string): Promise<unknown> {
  return page.evaluate(`run(${JSON.stringify(address)}, ${JSON.stringify(code)}).catch(String)`)
}

describe('the facade in a real browser', () => {
  const sites: Server[] = []
  let home: ErgonHome
  let browser: Browser
  let api = ''
  let listed = ''
  let foreign = ''

  /** The page on a port, and so an origin, of its own. */
  async function serve(): Promise<string> {
    const site = createServer((_request, response) => response.setHeader('content-type', 'text/html').end(PAGE))
    sites.push(site)
    await once(site.listen(0, '127.0.0.1'), 'listening')
    return `http://127.0.0.1:${(site.address() as AddressInfo).port}`
  }

  beforeAll(async () => {
    listed = await serve()
    foreign = await serve()
    home = new ErgonHome({ ERGON_API_LISTEN: '127.0.0.1:0', ERGON_API_CORS_ORIGINS: listed })
    const [{ line }, started] = await Promise.all([
      home.start('dev'),
      chromium.launch({
        executablePath: CHROMIUM,
        // As root Chromium does not start with its own sandbox, and the suite runs as root.
        chromiumSandbox: process.getuid?.() !== 0,
        // A name whose owner lets it lead to this machine.
        args: ['--host-resolver-rules=MAP rebound.test 127.0.0.1'],
      }),
    ])
    browser = started
    api = apiUrlOf(line)
  })
  afterAll(async () => {
    await browser?.close()
    for (const site of sites) site.close()
    await home?.remove()
  })

  async function open(address: string): Promise<Page> {
    const page = await browser.newPage()
    await page.goto(address)
    return page
  }

  test('runs Python for a page of a listed origin, which shows its output and its plot', async () => {
    const page = await open(listed)
    expect(await runIn(page, api, PLOT)).toEqual({ httpStatus: 200, status: 'success' })
    expect(await page.textContent('#stdout')).toBe('plotted\n')
    expect(await page.evaluate('document.querySelector(\'img[alt="plot.png"]\').naturalWidth')).toBe(640)
  })

  test('keeps out a page of an origin that is not listed', async () => {
    const page = await open(foreign)
    const said: string[] = []
    page.on('console', (message) => said.push(message.text()))
    expect(await runIn(page, api, 'print(1)')).toBe('TypeError: Failed to fetch')
    expect(said.join()).toContain('has been blocked by CORS policy')
  })

  test('keeps out a page of a name that was made to lead here, which is of one origin with the API then', async () => {
    const address = api.replace('127.0.0.1', 'rebound.test')
    // What the API serves may call nobody; the page that this stands for comes from a server of its own.
    const page = await browser.newPage({ bypassCSP: true })
    await page.goto(`${address}/health`)
    const call = `fetch('/execute/python', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"code":"print(1)"}',
    }).then(async (answer) => [answer.status, await answer.text()])`
    const [status, text] = z.tuple([z.number(), z.string()]).parse(await page.evaluate(call))
    expect(status).toBe(403)
    expect(text).toContain('its Host \\"rebound.test:')
  })
})
