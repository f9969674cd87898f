import { describe, expect, it } from 'vitest'
import { compileTexts, faultsOf, orderWith, servicesOf } from './compiler.fixture.ts'

describe('faults', () => {
  it('are told all at once, each with line, column, path and remedy', () => {
    const faults = faultsOf(
      orderWith(
        `- call_service: {service: stipe, operation: create_charge}\n- call_service: {service: stripe, operation: create_charg}\n- call_service: {service: stripe, operation: create_charge, input: {amount: many, customer: $order.custmer_id, tip: 1}}\n- frobnicate: x`,
      ),
    )
    expect(faults).toEqual([
      `8:33 actions.0.steps.0.call_service.service: Service 'stipe' not found. Available: [Stripe, mail]; did you mean "Stripe"?`,
      `9:52 actions.0.steps.1.call_service.operation: Operation 'create_charg' of service 'Stripe' not found. Available: [create_charge, refund]; did you mean "create_charge"?`,
      expect.stringMatching(/^10:\d+ .*input\.amount: input of Stripe\.create_charge: \/amount must be number/),
      expect.stringMatching(/^10:99 .*input\.customer: Order has no field "custmer_id"; did you mean "customer_id"\? /),
      expect.stringMatching(/^10:\d+ .*input\.tip: input of Stripe\.create_charge: it has no "tip"/),
      expect.stringMatching(/^11:9 actions\.0\.steps\.3\.frobnicate: the step "frobnicate" is not compiled/),
    ])
  })

  it.each([
    ['- nothing: x', 'nothing was compiled, there is one fault:\n'],
    ['- nothing: x\n- nothing: y', 'nothing was compiled, there are 2 faults:\n'],
  ])('are counted: %j', (steps, words) => {
    expect(() => compileTexts([orderWith(steps)])).toThrow(words)
  })

  it.each([
    ['- update: Order SET status = 1', 'an update needs WHERE'],
    [`- update: Order SET status = 1 WHERE id = $order.id`, 'a value of type numeric cannot become one of type text'],
    [`- update: Ordr SET status = 'x' WHERE id = $order.id`, 'did you mean "Order"?'],
    [`- update: Order SET status = 'x', status = 'y' WHERE true`, 'is set a second time'],
    [`- update: Order SET status = 'x' WHERE id = $order.id; drop table x`, '";" has no meaning'],
    [`- update: Order SET status = (select 1) WHERE true`, 'expected )'],
    [`- update: Order SET status = pg_sleep(10) WHERE true`, 'unknown function pg_sleep()'],
    [`- update: Order SET "status" = 1 WHERE true`, 'texts stand between single quotes'],
    [`- update: Order SET status = 'x WHERE true`, 'a text begins here and does not end'],
    [`- validate: status = 'x'\n  error: no`, 'write $order.status'],
    [`- validate: $order.total\n  error: no`, 'a condition takes a value of type boolean'],
    [`- validate: $order.total > 'x' and not $order.status\n  error: no`, 'NOT takes a value of type boolean'],
    [`- validate: $ordr.total > 0\n  error: no`, 'did you mean "order"?'],
    [`- return: $order.tags || $order.note`, '|| joins texts, found text[] and text'],
    [`- return: "$order.meta || 'x'"`, '|| joins texts, found jsonb and text'],
    [`- validate: $order > 0\n  error: no`, 'is a row: name a field'],
    [`- validate: $order.total.cents > 0\n  error: no`, 'has no fields'],
    [`- validate: ${'1 + '.repeat(600)}1 = 1\n  error: no`, 'more than 1000 words'],
    [`- call_service: {service: mail, operation: send, key: [${'id, '.repeat(21)}id]}`, 'has 22 values; at most 20'],
    [`- validate: ${'('.repeat(60)}1${')'.repeat(60)} = 1\n  error: no`, 'nested more than 50'],
    [`- validate: $order.total > 0`, `missing required field 'error'`],
    [`- return: 1\n- return: 2`, 'return must be the last step'],
    [`- insert: Order\n  as: order\n- insert: Order\n  as: order`, 'has a meaning already'],
    [
      `- call_service: {service: mail, operation: send, as: order_id}`,
      'a step binds $order_id, which is the parameter',
    ],
    [
      `- insert: Order\n  as: order_id\n- validate: $order.total > 0\n  error: no`,
      'a step binds $order_id, which is the parameter',
    ],
    [`- insert: Order\n  as: Order`, 'must be lower-case letters'],
    [`- insert: Order\n  as: result`, 'compiled functions use themselves'],
    [`- insert: Order\n  values: {totl: 1}`, 'did you mean "total"?'],
    [`- call_service: {service: mail, operation: send, async: false}`, 'must be true'],
    [`- call_service: {service: mail, operation: send, timeout: 31}`, 'the registry allows mail.send 30 seconds'],
    [`- call_service: {service: mail, operation: send, max_retries: 4}`, 'the registry allows mail.send 3'],
    [`- call_service: {service: mail, operation: send, run_at: $order.status}`, 'run_at must be a time'],
    [`- call_service: {service: mail, operation: send, key: [nothing]}`, 'Order has no field "nothing"'],
    [`- call_service: {service: mail, operation: send, key: [tags]}`, 'text[] is no key'],
    [`- call_service: {service: mail, operation: send, retries: 4}`, 'unknown field "retries"'],
    [
      `- call_service: {service: mail, operation: send}\n- call_service: {service: mail, operation: send}`,
      'this would be the same job',
    ],
    [
      `- call_service: {service: stripe, operation: refund, input: {amount: 1}, on_success: [{call_service: {service: Mail, operation: send}}]}\n- call_service: {service: mail, operation: send}`,
      'a step outside of this callback calls Mail.send without a key too, so this would be the same job',
    ],
    [`- call_service: {service: stripe, operation: refund, input: {amount: 0}}`, '/amount must be > 0'],
    [
      `- call_service: {service: stripe, operation: refund, input: {amount: $order.status}}`,
      '/amount must be number, found a value of type text',
    ],
    [`- call_service: {service: stripe, operation: refund, input: {count: 1}}`, `required property 'amount'`],
    [
      `- call_service: {service: stripe, operation: refund, input: {amount: 1, reason: other}}`,
      '/reason must be equal to one of',
    ],
    [
      `- call_service: {service: stripe, operation: refund, input: {amount: 1, lines: [{sku: $order.note, price: 1}]}}`,
      '/lines/0 has no "price"',
    ],
    [
      `- call_service: {service: stripe, operation: refund, input: {amount: 1, lines: [{sku: "a\\0b"}]}}`,
      'NUL character',
    ],
    [`- call_service: {service: mail, operation: send, input: {a: "\\ud800"}}`, 'lone surrogate'],
    [`- call_service: {service: mail, operation: send, input: {"a\\0": 1}}`, 'NUL character'],
    [`- call_service: {service: mail, operation: send, input: {a: 1e99999}}`, 'more digits than can be stored'],
    [`- call_service: {service: mail, operation: send, input: {a: $5 off}}`, 'a text that begins with $ is written $$'],
    ['- [1]', 'a step is a mapping'],
  ])('%s', (steps, words) => {
    expect(faultsOf(orderWith(steps)).join('\n')).toContain(words)
  })

  it.each([
    ['', 'the file is empty'],
    ['- 1', 'an entity is a mapping'],
    ['entity: Order', "missing required field 'schema'"],
    ['entity: "Or;der"\nschema: commerce', 'must be letters, digits'],
    ['entity: Order\nschema: "a.b"', 'must be letters, digits'],
    ['entity: Order\nschema: commerce\ntable: a.b.c', 'must be TABLE or SCHEMA.TABLE'],
    ['entity: Order\nschema: commerce\nfields: {a: strng}', 'did you mean "string"?'],
    ['entity: Order\nschema: commerce\nfields: {"a b": text}', 'must be letters, digits'],
    [
      `entity: ${'a'.repeat(60)}\nschema: commerce\nactions: [{name: a, steps: [{call_service: {service: mail, operation: send}}]}]`,
      'would be longer than the 63 characters',
    ],
    ...['at', `"coalesce('x', $order.at)"`].map((key) => [
      `entity: Order\nschema: commerce\nactions: [{name: a, steps: [{call_service: {service: mail, operation: send, key: [${key}]}}]}]`,
      'a field of no known type is no key: say its type under "fields:"',
    ]),
    ['entity: Result\nschema: commerce', 'use themselves'],
    ['entity: Order\nschema: commerce\nactons: []', 'did you mean "actions"?'],
    [
      'entity: Order\nschema: commerce\nactions: [{name: a, steps: []}, {name: a, steps: []}]',
      'stands here a second time',
    ],
    ['entity: Order\nschema: commerce\nactions: [{name: "a()", steps: []}]', 'must be lower-case'],
    ['entity: Order\nschema: commerce\nactions: [{name: a}]', "missing required field 'steps'"],
  ])('of the file: %s', (text, words) => {
    expect(faultsOf(text).join('\n')).toContain(words)
  })

  it('are none where callbacks call one operation in turn, or with a key', () => {
    const letter = (options: string) => `[{call_service: {service: mail, operation: send${options}}}]`
    const refund = `- call_service: {service: stripe, operation: refund, input: {amount: 1}`
    expect(faultsOf(orderWith(`${refund}, on_success: ${letter('')}, on_failure: ${letter('')}}`))).toEqual([])
    expect(
      faultsOf(
        orderWith(
          `- call_service: {service: mail, operation: send}\n${refund}, on_success: ${letter(', key: ["\'paid\'"]')}}`,
        ),
      ),
    ).toEqual([])
  })

  it('refuse functions, files and entities of the same name', () => {
    const text = `entity: Order\nschema: commerce\nactions: [{name: act, steps: []}]`
    expect(() => compileTexts([text, text])).toThrow('the entity Order is in entity-0.yaml too')
    expect(() => compileTexts([text, text.replace('Order', 'Offer')])).toThrow(
      'the function commerce.act is made twice, for Order and for Offer',
    )
    const services = servicesOf(
      `services: [{name: a_b, type: a, category: b, operations: [{name: c}], runner_config: {base_url: "https://a.example.com"}}, {name: a, type: a, category: b, operations: [{name: b_c}], runner_config: {base_url: "https://a.example.com"}}]`,
    )
    const calls = ['service: a_b, operation: c', 'service: a, operation: b_c']
      .map((call) => `- call_service: {${call}, on_success: [{update: "Order SET note = 'x' WHERE id = $order.id"}]}`)
      .join('\n')
    expect(() => compileTexts([orderWith(calls)], { services })).toThrow(
      'order_a_b_c_success is made twice, for Order with a_b.c and for Order with a.b_c: give',
    )
  })

  it.each([false, true])(
    'refuse the row of another entity under the name of its own, in snippets too: %s',
    (isSnippet) => {
      const steps = `- insert: Log\n  as: order\n- call_service: {service: mail, operation: send}`
      const log = 'entity: Log\nschema: commerce\nfields: {text: text}'
      expect(() => compileTexts([orderWith(steps), log], { isSnippet })).toThrow(
        '$order is the row of Order; name this',
      )
    },
  )

  it('refuse a registry whose secrets would be compiled', () => {
    const services = servicesOf(
      `services: [{name: mail, type: a, category: b, operations: [{name: send}], runner_config: {base_url: "https://mail.example.com", headers: {Authorization: Bearer abc}}}]`,
    )
    const text = orderWith('- call_service: {service: mail, operation: send}')
    expect(() => compileTexts([text], { services })).toThrow('seems to hold a secret')
    expect(() => compileTexts([text], { services })).not.toThrow('abc')
  })
})
