import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { REGISTRY_CASES } from '../../src/conformance/cases/registry-cases.ts'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { leftoversAfter } from './leftovers.ts'

const SERVICE = `services:
  - name: echo
    type: computation
    category: tests
    execution_type: sandbox
    operations:
      - name: back
        input_schema:
          type: object
          properties:
            parameters:
              type: object
              properties:
                word: {type: string, pattern: "^(a+)+$"}
                items: {type: array, uniqueItems: true}
    runner_config:
      environment: python-sci
      code: |
        import json, os
        parameters = json.load(open(os.environ["ERGON_PARAMETERS"]))
        json.dump({"keys": sorted(parameters), "characters": len(str(parameters))}, open(os.environ["ERGON_RESULT"], "w"))
`

describe('row 56: hostile registries', () => {
  // Less than any of the bombs would take, were it unpacked.
  const home = new ErgonHome({ NODE_OPTIONS: '--max-old-space-size=192' })
  afterAll(() => home.remove())

  test.each(REGISTRY_CASES.filter(({ row }) => row === 56))(
    '$name: refused with words, in bounded time and memory',
    { timeout: 60_000 },
    async ({ registry, says }) => {
      const { code, stdout, stderr } = await home.run('validate-config', home.file('bomb.yaml', registry))
      expect(code).toBe(2)
      expect(stdout + stderr).toContain(says)
      expect(stderr).not.toContain('at ')
    },
  )
})

describe('row 56: hostile input', () => {
  const home = new ErgonHome()
  let app: Application

  beforeAll(async () => {
    const { line } = await home.start('dev', '--registry', home.file('registry.yaml', SERVICE))
    app = new Application(await home.connect(databaseUrlOf(line)))
  })
  afterAll(async () => {
    await home.remove()
    expect(await leftoversAfter(home, 10_000)).toEqual([])
  })

  async function send(input: string) {
    const id = randomUUID()
    await app.db.query(
      `insert into jobs.tb_job_run (id, identifier, service_name, operation, execution_type, input_data) values ($1, $2, 'echo', 'back', 'sandbox', $3)`,
      [id, `test_${id}`, input],
    )
    return app.untilEnded(id)
  }

  async function workerMb(): Promise<number> {
    const { rows } = await app.db.query('select pid from jobs.tb_job_worker')
    const status = readFileSync(`/proc/${(rows[0] as { pid: number }).pid}/status`, 'utf8')
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024
  }

  const parameters = (json: string) => `{"parameters": ${json}}`

  test('prototype keys are keys like any other', async () => {
    const result = await send(parameters('{"__proto__": {"polluted": true}, "constructor": 1, "toString": 2}'))
    expect(result.outputs.result_json).toMatchObject({ keys: ['__proto__', 'constructor', 'toString'] })
    expect((await send('{"__proto__": {"parameters": {"a": 1}}}')).error).toMatchObject({ code: 'INPUT_INVALID' })
  })

  test('a string of 10 MB is refused when it is inserted', async () => {
    await expect(send(parameters(`{"word": "${'a'.repeat(10 * 1024 * 1024)}"}`))).rejects.toThrow('INPUT_TOO_LARGE')
  })

  test.each([
    ['a megabyte that a backtracking pattern would never finish', parameters(`{"word": "${'a'.repeat(1_000_000)}!"}`)],
    [
      '100 000 items to compare with each other',
      parameters(`{"items": [${Array.from({ length: 99_999 }, (_, i) => `[${i}]`).join()},[7]]}`),
    ],
    ['a value nested 3 000 deep', parameters(`{"items": ${'['.repeat(3_000)}${']'.repeat(3_000)}}`)],
  ])('%s is VALIDATION_ERROR, and the next job is fine', async (_name, input) => {
    const result = await send(input)
    expect(result).toMatchObject({
      status: 'FAILED',
      env_version: null,
      error: { category: 'VALIDATION_ERROR', code: 'INPUT_INVALID' },
    })
    expect(result.error?.message.length).toBeLessThan(1_500)
    expect(await send(parameters('{"word": "aaa"}'))).toMatchObject({ status: 'SUCCEEDED' })
  })

  test('the worker stayed one and small', async () => {
    const { rows } = await app.db.query('select count(*)::int as workers from jobs.tb_job_worker')
    expect(rows).toEqual([{ workers: 1 }])
    expect(await workerMb()).toBeLessThan(300)
  })
})
