import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ErgonHome } from './ergon.ts'

const home = new ErgonHome()
afterAll(() => home.remove())

const registry = home.file(
  'registry.yaml',
  `services:
  - name: stripe
    type: payment
    category: finance
    operations: [{name: create_charge, input_schema: {amount: number}, output_schema: {charge_id: string}}]
    runner_config: {base_url: "https://example.org"}
  - name: draw
    type: drawing
    category: finance
    execution_type: sandbox
    operations: [{name: invoice}]
    runner_config: {environment: python-sci, script: draw.py}
`,
)
home.file('draw.py', 'print(1)\n')
const entity = (field: string) => `entity: Order
schema: commerce
fields: {total: numeric, charge_id: text}
actions:
  - name: pay
    steps:
      - call_service:
          service: stripe
          operation: create_charge
          input: {amount: $order.${field}}
          on_success: [{update: "Order SET charge_id = $result.charge_id WHERE id = $order.id"}]
      - call_service: {service: draw, operation: invoice}
      - return: $order.total
`
const order = home.file('order.yaml', entity('total'))
const out = path.join(home.folder, 'sql')
const compile = (...args: string[]) => home.run('compile', ...args, '--registry', registry)

describe('ergon compile', () => {
  beforeAll(async () => {
    mkdirSync(out)
    expect(await compile(order, '--out', out)).toMatchObject({
      code: 0,
      stdout: `${out}/commerce.order.sql\n`,
      stderr: '',
    })
  })

  it('writes what it prints, and says what is up to date', async () => {
    const printed = await compile(order)
    expect(printed.stdout).toBe(readFileSync(path.join(out, 'commerce.order.sql'), 'utf8'))
    expect(readdirSync(out)).toEqual(['commerce.order.sql'])
    expect(await compile(order, '--out', out, '--check')).toMatchObject({
      code: 0,
      stdout: `${out}: 1 file is up to date\n`,
    })
  })

  it('says which files are not', async () => {
    const other = path.join(home.folder, 'other')
    mkdirSync(other)
    const sql = readFileSync(path.join(out, 'commerce.order.sql'), 'utf8')
    writeFileSync(path.join(other, 'commerce.order.sql'), `${sql}-- changed\n`)
    writeFileSync(path.join(other, 'commerce.offer.sql'), sql)
    writeFileSync(path.join(other, 'mine.sql'), 'select 1;\n')
    const { code, stderr } = await compile(order, '--out', other, '--check')
    expect(code).toBe(2)
    expect(stderr).toContain('commerce.order.sql is not what its entity file compiles to')
    expect(stderr).toContain('commerce.offer.sql was compiled from a file that is not among these')
    expect(stderr).not.toContain('mine.sql')
  })

  it('writes types that TypeScript takes', async () => {
    const { code } = await compile(order, '--types', '--out', path.join(home.folder, 'types'))
    expect(code).toBe(0)
    const file = path.join(home.folder, 'types', 'ergon-types.ts')
    writeFileSync(
      path.join(home.folder, 'types', 'use.ts'),
      `import type { Actions, Operations } from './ergon-types.ts'
export const input: Operations['stripe.create_charge']['input'] = { amount: 1 }
export const pay: Actions['commerce.pay']['parameters'] = ['id']
// @ts-expect-error: an amount is a number
export const wrong: Operations['stripe.create_charge']['input'] = { amount: 'one' }
`,
    )
    const tsc = path.join(path.dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
    execFileSync(process.execPath, [
      tsc,
      '--noEmit',
      '--strict',
      '--allowImportingTsExtensions',
      '--ignoreConfig',
      path.join(path.dirname(file), 'use.ts'),
    ])
  })

  it.each([
    [[], 'USAGE', 'at least one entity file'],
    [[order, '--check'], 'USAGE', '--out FOLDER'],
    [[order, '--snippet', '--types'], 'USAGE', 'once for each'],
    [
      [home.file('wrong.yaml', entity('totl'))],
      'ENTITY_INVALID',
      `wrong.yaml:10:27: actions.0.steps.0.call_service.input.amount: Order has no field "totl"; did you mean "total"?`,
    ],
  ])('refuses %j', async (args, code, words) => {
    const named = await compile(...args)
    expect(named.code).toBe(2)
    expect(named.stderr).toContain(`(${code})`)
    expect(named.stderr).toContain(words)
  })
})
