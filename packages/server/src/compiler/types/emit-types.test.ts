import { expect, it } from 'vitest'
import { orderWith, servicesOf } from '../compiler.fixture.ts'
import { planEntities } from '../compile.ts'
import { emitTypes } from './emit-types.ts'

it('types of operations come from their schemas, those of actions from their functions', () => {
  const services = servicesOf()
  const text = orderWith('- return: {id: $order.id, total: $order.total, meta: $order.meta}', {
    params: '{tags: "text[]", total: "numeric(9,2)", at: timestamptz}',
  })
  const plans = planEntities([{ file: 'order.yaml', text }], { services, isSnippet: false })
  expect(emitTypes(services, plans, '1.2.3')).toMatchInlineSnapshot(`
    "// Compiled by ergon 1.2.3 from the service registry and the entity files. Changes belong there.

    /** Input and output of every operation, by service and operation. */
    export interface Operations {
      "Stripe.create_charge": {
        input: {
          amount: number
          customer: string
          note?: string
        }
        output: {
          charge_id: string
          fee: number
          detail: {
            paid: boolean
            attempts: number
          }
          raw: unknown
        }
      }
      "Stripe.refund": {
        input: {
          amount: number
          count?: number
          reason?: "damaged" | "lost" | "it's"
          lines?: ({
            sku: string
          })[]
        }
        output: Record<string, unknown>
      }
      "mail.send": {
        input: Record<string, unknown>
        output: Record<string, unknown>
      }
      "mail.archive": {
        input: Record<string, unknown>
        output: Record<string, unknown>
      }
    }

    /** Parameters, in their order, and result of every compiled function. */
    export interface Actions {
      "commerce.act": {
        parameters: [order_id: string | null, tags: (string | null)[] | null, total: string | null, at: Date | null]
        returns: { id: string | null; total: number | null; meta: unknown }
      }
    }
    "
  `)
})

it.each([
  ['numeric', 'string | null'],
  ['"numeric(9,2)[]"', '(number | null)[] | null'],
  ['"bigint[]"', '(string | null)[] | null'],
  ['interval', 'unknown'],
])('a result of type %s is what the driver makes of it', (type, result) => {
  const plans = planEntities([{ file: 'order.yaml', text: orderWith('- return: $a', { params: `{a: ${type}}` }) }], {
    services: servicesOf(),
    isSnippet: false,
  })
  expect(emitTypes(new Map(), plans, '1')).toContain(`returns: ${result}\n`)
})

it('types of schemas that say more than types can are wide, not wrong', () => {
  const services = servicesOf(`services:
  - name: s
    type: a
    category: b
    operations:
      - name: o
        input_schema: {type: object, properties: {"a b": {anyOf: [{type: string}, {type: "null"}]}, ref: {$ref: "#/$defs/x"}, "*/": {const: "*/"}}, $defs: {x: {type: object}}}
    runner_config: {base_url: "https://example.com"}
`)
  expect(emitTypes(services, [], '1')).toContain(
    `    input: {\n      "a b"?: string | null\n      ref?: unknown\n      "*/"?: "*/"\n    }`,
  )
})
