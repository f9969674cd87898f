import type { AddressInfo } from 'node:net'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ApiApp } from '../../src/api/api-app.ts'
import { createDescribedApp } from '../../src/api/described-app.fixture.ts'

const CHROMIUM = '/usr/bin/chromium-headless-shell'
let app: ApiApp
let browser: Browser
let origin = ''

beforeAll(async () => {
  app = await createDescribedApp('1.2.3')
  await app.listen({ host: '127.0.0.1', port: 0 })
  origin = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  // As root Chromium does not start with its own sandbox, and the suite runs as root.
  browser = await chromium.launch({ executablePath: CHROMIUM, chromiumSandbox: process.getuid?.() !== 0 })
})
afterAll(async () => {
  await browser?.close()
  await app?.close()
})

test('/docs shows every operation under its policy, and loads nothing from elsewhere', async () => {
  const page = await browser.newPage()
  const complaints: string[] = []
  const loaded: string[] = []
  page.on('console', (message) => void (message.type() === 'error' && complaints.push(message.text())))
  page.on('pageerror', (error) => void complaints.push(error.message))
  page.on('request', (request) => void loaded.push(request.url()))
  await page.goto(`${origin}/docs`)
  await page.locator('.opblock').first().waitFor()
  const { paths } = app.swagger() as { paths: Record<string, object> }
  const count = Object.values(paths).reduce((sum, methods) => sum + Object.keys(methods).length, 0)
  expect(await page.locator('.opblock').count()).toBe(count)
  await page.locator('#operations-jobs-submitJob button').first().click()
  await page.getByText('Needs the scope submit').first().waitFor()
  expect(complaints).toEqual([])
  expect(loaded.filter((url) => !url.startsWith(`${origin}/`) && !url.startsWith('data:'))).toEqual([])
  expect(loaded.length).toBeGreaterThan(3)
})
