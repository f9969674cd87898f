import { Validator } from '@seriousme/openapi-schema-validator'
import { beforeAll, describe, expect, it } from 'vitest'
import type { ApiApp } from './api-app.ts'
import { createDescribedApp } from './described-app.fixture.ts'
import type { OpenApiDocument } from './openapi-document.ts'

interface Described {
  operationId?: string
  summary?: string
  description?: string
  security?: object[]
  responses: Record<string, { description: string; content?: Record<string, { schema: { $ref?: string } }> }>
}

let app: ApiApp
let document: OpenApiDocument & { security: object[] }
let operations: [string, Described][]
beforeAll(async () => {
  app = await createDescribedApp('1.2.3')
  document = (await app.inject({ method: 'GET', url: '/openapi.json' })).json()
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, each]): [string, Described] => [
      `${method.toUpperCase()} ${path}`,
      each as Described,
    ]),
  )
  return () => app.close()
})

/** `METHOD /path` of all that is served, read from fastify's own picture of its router. */
function routesOf(served: ApiApp): string[] {
  const parents: string[] = []
  return served
    .printRoutes({ commonPrefix: false })
    .split('\n')
    .flatMap((line) => {
      const [, indent = '', part = '', methods = ''] = /^([│ ]*)[├└]── (\S*) \(([A-Z, ]+)\)$/.exec(line) ?? []
      const depth = indent.length / 4
      const path = depth === 0 ? part : (parents[depth - 1] ?? '') + part
      parents.splice(depth, Infinity, path)
      return methods === '' ? [] : methods.split(', ').map((method) => `${method} ${path}`)
    })
}

describe('/openapi.json', () => {
  it('is OpenAPI 3.1 by the schema of the specification', async () => {
    expect(await new Validator().validate(structuredClone<object>(document) as Record<string, unknown>)).toEqual({
      valid: true,
    })
  })

  it('has every route, and nothing else', () => {
    const described = operations.map(([name]) => name.replaceAll(/\{([a-z_]+)\}/g, ':$1'))
    const served = routesOf(app).filter((name) => !/ \/docs|^(OPTIONS|HEAD)| \/openapi\.json$/.test(name))
    expect(served.length).toBeGreaterThan(15)
    expect(described.toSorted()).toEqual(served.toSorted())
  })

  it('names each operation, and says who may call it', () => {
    const ids = operations.map(([, { operationId = '' }]) => operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const [name, { operationId, summary, description, security }] of operations) {
      expect([name, operationId]).toEqual([name, expect.stringMatching(/^[a-z]+([A-Z][a-z]+)*$/)])
      expect([name, summary]).toEqual([name, expect.any(String)])
      expect([name, description]).toEqual([
        name,
        expect.stringMatching(/Needs no token\.$|Needs the scope `[a-z]+`.*\.$/),
      ])
      expect([name, security?.length === 0]).toEqual([name, / \/(health|ready)/.test(name)])
    }
    expect(document.security).toEqual([{ token: [] }])
  })

  it('has problems for refusals, and schemas with names for what is more than a few fields', () => {
    for (const [name, { responses }] of operations)
      for (const [status, { content = {} }] of Object.entries(responses)) {
        // The facade answers as its contract says, and /ready for those who look at nothing but the status.
        if (!name.includes(' /v1/')) continue
        const [[type, body] = ['', null]] = Object.entries(content)
        if (Number(status) >= 400)
          expect([name, status, type, body?.schema.$ref]).toEqual([
            ...[name, status, 'application/problem+json', '#/components/schemas/Problem'],
          ])
      }
    expect(Object.keys(document.components.schemas)).toEqual(
      expect.arrayContaining(['Artifact', 'Job', 'JobPayload', 'Problem', 'ServiceCall']),
    )
    expect(Object.keys(document.components.schemas).filter((name) => name.endsWith('Input'))).toEqual([])
  })

  it('closes what comes in and leaves open what goes out', () => {
    const { JobPayload, ServiceCall, Job } = document.components.schemas as Record<string, Record<string, unknown>>
    expect([JobPayload?.['additionalProperties'], ServiceCall?.['additionalProperties']]).toEqual([false, false])
    expect(Job).not.toHaveProperty('additionalProperties')
    expect(JobPayload).toMatchObject({ examples: [expect.objectContaining({ job_type: 'object_execute' })] })
  })
})

describe('/docs', () => {
  it('is a page that loads nothing from elsewhere', async () => {
    const page = await app.inject({ method: 'GET', url: '/docs/' })
    expect(page.statusCode).toBe(200)
    const loaded = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url = '']) => url)
    expect(loaded.length).toBeGreaterThan(3)
    for (const url of loaded) {
      expect(url).not.toMatch(/^(https?:)?\/\//)
      const { statusCode } = await app.inject({ method: 'GET', url: new URL(url, 'http://x/docs/').pathname })
      expect([url, statusCode]).toEqual([url, 200])
    }
    const policy = String(page.headers['content-security-policy'])
    expect(policy).toContain("default-src 'none'; script-src 'self';")
    expect(policy).not.toMatch(/https?:|unsafe-eval|upgrade/)
    // Scripts that stand in the page itself would not run.
    expect(page.body).not.toMatch(/<script>(?!\s*<)|onload=/)
  })
})
