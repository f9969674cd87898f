import { describe, expect, it } from 'vitest'
import { compileTexts, faultsOf, orderWith, servicesOf } from './compiler.fixture.ts'

const CALL = `- call_service: {service: stripe, operation: create_charge, input: {amount: $order.total, customer: $order.customer_id}}`

describe('a whole function', () => {
  it('has typed parameters, declared variables and no transaction control', () => {
    const sql = compileTexts([
      orderWith(`- insert: Order\n  as: order\n${CALL}\n- return: $order.id`, {
        params: '{customer_id: uuid, total: "decimal(12,2)"}',
      }),
    ])
    expect(sql).toContain(
      'create or replace function "commerce"."act"(_customer_id uuid, _total numeric(12,2))\nreturns uuid',
    )
    expect(sql).toContain('set search_path = pg_catalog, pg_temp')
    expect(sql).toContain('  _order "commerce"."order"%rowtype;\n  _job_id_stripecreatecharge uuid;\n')
    expect(sql).toContain(
      `insert into "commerce"."order" as t ("customer_id", "total")\n  values (_customer_id, _total)`,
    )
    expect(sql).not.toMatch(/^\s*(commit|rollback|begin;)/m)
  })

  it('loads and locks its row where no step before has made it', () => {
    const sql = compileTexts([orderWith(`${CALL}\n- return: {id: $order.id, total: $order.total * 2}`)])
    expect(sql).toContain('"act"(_order_id uuid)\nreturns jsonb')
    expect(sql).toContain('from "commerce"."order" as t where t.id = _order_id for update;')
    expect(sql).toContain('ENTITY_NOT_FOUND')
  })

  it('reads a changed row anew for the steps after', () => {
    const update = `- update: Order SET status = 'open' WHERE id = $order.id`
    expect(compileTexts([orderWith(`${update}\n- return: $order.status`)])).toContain('where t.id = _order.id;')
    expect(compileTexts([orderWith(update)])).not.toContain('where t.id = _order.id;')
  })

  it('is the same each time, and says what it was made of', () => {
    const text = orderWith(CALL)
    expect(compileTexts([text])).toBe(compileTexts([text]))
    expect(compileTexts([text])).toMatch(/^-- Compiled by ergon 1\.2\.3 from entity-0\.yaml, sha256:[0-9a-f]{64}\. /)
  })

  it('can name entities of other files', () => {
    const log = `entity: OrderLog\nschema: audit\nfields: {order_id: uuid, text: text}\n`
    const steps = `- insert: OrderLog\n  values: {order_id: $order.id, text: "'it''s ' || $order.status"}`
    const sql = compileTexts([orderWith(steps), log])
    expect(sql).toContain(
      `insert into "audit"."order_log" as t ("order_id", "text")\n  values (_order.id, ('it''s ' || _order.status))`,
    )
  })
})

describe('a call', () => {
  it('takes execution type, time-out, attempts and policy from the registry', () => {
    const sql = compileTexts([orderWith(`- call_service: {service: STRIPE, operation: Refund, input: {amount: 1}}`)])
    for (const value of [
      `'Stripe',\n    'refund'`,
      `'http'`,
      `    4,\n    1,\n`,
      `'policy_digest', 'sha256:`,
      `on_worker_lost`,
    ])
      expect(sql).toContain(value)
  })

  it('asks for less than the registry allows, and says when', () => {
    const sql = compileTexts([
      orderWith(
        `- call_service: {service: mail, operation: send, timeout: 12.5, max_retries: 0, priority: high, run_at: "now() + interval '2 hours'", correlation_field: $order.customer_id}`,
      ),
    ])
    expect(sql).toContain('    1,\n    13,\n')
    expect(sql).toContain(
      "    50,\n    coalesce((pg_catalog.now() + '2 hours'::pg_catalog.interval), pg_catalog.now())\n",
    )
    expect(sql).toContain('    (_order.customer_id)::text,\n')
  })

  it('is another job by its key', () => {
    const sql = compileTexts([
      orderWith(`- call_service: {service: mail, operation: send, key: [revision, $n], on_conflict: error}`, {
        params: '{n: int}',
      }),
    ])
    expect(sql).toContain(
      `'Order_' || _order.id::text || '_mail_send_' || pg_catalog.jsonb_build_array(_order.revision, _n)::text`,
    )
    expect(sql).toContain('JOB_EXISTS')
  })

  it('leaves out what is optional and null, and checks what the schema asks', () => {
    const sql = compileTexts([
      orderWith(
        `- call_service: {service: stripe, operation: create_charge, input: {amount: $order.quantity, customer: $order.customer_id, note: $order.note}}`,
      ),
    ])
    expect(sql).toContain(`case when _order.note is null then '{}'::pg_catalog.jsonb else`)
    expect(sql).toContain('if _order.customer_id is null then')
  })

  it('writes every digit of a number', () => {
    const sql = compileTexts([
      orderWith(
        `- call_service: {service: mail, operation: send, input: {a: 12345678901234567890.10, b: 1e400, c: 0x1F, d: +.5, e: -007}}`,
      ),
    ])
    expect(sql).toContain(`'{"a":12345678901234567890.10,"b":1e400,"c":31,"d":0.5,"e":-7}'::pg_catalog.jsonb`)
  })
})

describe('a job that is named', () => {
  const twice = `- call_service: {service: mail, operation: send, as: first}\n- call_service: {service: mail, operation: send, key: [revision], as: second}`

  it('keeps its name where another call takes the variable', () => {
    const sql = compileTexts([orderWith(`${twice}\n- return: {first: $first.id, second: $second.id}`)])
    expect(sql).toContain(`_first := _job_id_mailsend;`)
    expect(sql).toContain(`pg_catalog.jsonb_build_object('first', _first, 'second', _second)`)
  })

  it('has no name any more where a snippet has only that variable', () => {
    const third = (name: string) => `- call_service: {service: mail, operation: archive, input: {job: $${name}.id}}`
    expect(compileTexts([orderWith(`${twice}\n${third('second')}`)], { isSnippet: true })).toContain(
      `'job', _job_id_mailsend`,
    )
    expect(faultsOf(orderWith(`${twice}\n${third('first')}`), { isSnippet: true }).join()).toContain(
      '$first is no parameter',
    )
  })
})

describe('a snippet', () => {
  it('is the step alone, and passes by what others compile', () => {
    const sql = compileTexts(
      [orderWith(`- notify: somebody\n  as: notice\n${CALL.replace('$order.total', '$notice.sum')}`)],
      { isSnippet: true },
    )
    expect(sql).toContain('-- ergon:snippet commerce.act step 2 declare _job_id_stripecreatecharge uuid;')
    expect(sql).toContain(`jsonb_build_object('amount', _notice.sum, 'customer', _order.customer_id)`)
    expect(sql).not.toContain('create or replace')
  })

  it('takes any field where the file declares none', () => {
    const text = `entity: Order\nschema: commerce\nactions: [{name: act, steps: [${JSON.stringify({ call_service: { service: 'mail', operation: 'send', input: { a: '$order.anything' } } })}]}]`
    expect(compileTexts([text], { isSnippet: true })).toContain(`jsonb_build_object('a', _order.anything)`)
  })
})

describe('callbacks', () => {
  const withCallbacks = (success: string, failure = '[]') =>
    orderWith(
      `- call_service:\n    service: stripe\n    operation: create_charge\n    input: {amount: 1, customer: c}\n    on_success: ${success}\n    on_failure: ${failure}`,
    )

  it('are functions that ergon_callback alone may call, registered by entity, service and operation', () => {
    const sql = compileTexts([
      withCallbacks(
        `[{update: "Order SET charge_id = $result.charge_id, total = $result.fee, is_paid = $result.detail.paid, customer_id = $result.charge_id, meta = $result.raw WHERE id = $order.id"}]`,
        `[{update: "Order SET note = $error.message WHERE id = $order.id"}]`,
      ),
    ])
    expect(sql).toContain('"order_stripe_create_charge_success"(_job_run_id uuid, _output_data jsonb)')
    expect(sql).toContain('"order_stripe_create_charge_failure"(_job_run_id uuid, _error_message text)')
    expect(sql).toContain(
      `"charge_id" = pg_catalog.jsonb_extract_path_text(_output_data, 'charge_id'), "total" = (pg_catalog.jsonb_extract_path_text(_output_data, 'fee'))::numeric`,
    )
    expect(sql).toContain(`"is_paid" = (pg_catalog.jsonb_extract_path_text(_output_data, 'detail', 'paid'))::boolean`)
    expect(sql).toContain(`"customer_id" = (pg_catalog.jsonb_extract_path_text(_output_data, 'charge_id'))::uuid`)
    for (const line of ['security definer', ' from public;', ' to ergon_callback;', 'select jobs.register_callbacks('])
      expect(sql).toContain(line)
    expect(sql).toContain(`on_success => '"commerce"."order_stripe_create_charge_success"(uuid,jsonb)'::regprocedure`)
  })

  it.each([
    [`[{update: "Order SET status = $result.paid WHERE id = $order.id"}]`, 'does not declare $result.paid'],
    [
      `[{update: "Order SET is_paid = $result.fee WHERE id = $order.id"}]`,
      'a value of type numeric cannot become one of type boolean',
    ],
    [`[{update: "Order SET note = $error.message WHERE id = $order.id"}]`, '$error is no parameter'],
    [`[{return: 1}]`, 'nobody takes what a callback returns'],
    [
      `[{call_service: {service: stripe, operation: create_charge, input: {amount: 2, customer: c}}}]`,
      'with other callbacks',
    ],
    [
      `[{call_service: {service: mail, operation: send, on_success: [{call_service: {service: mail, operation: send}}]}}]`,
      'with other callbacks',
    ],
  ])('refuse %s', (success, words) => {
    expect(faultsOf(withCallbacks(success)).join('\n')).toContain(words)
  })

  it('that lead back to themselves are refused', () => {
    const send = (inner: string) =>
      `{call_service: {service: mail, operation: send, key: [revision], on_success: [${inner}]}}`
    const archive = (inner: string) => `{call_service: {service: mail, operation: archive, on_success: [${inner}]}}`
    // The same text all the way down, as deep as the reader goes.
    const steps = `- ${send(archive(`{call_service: {service: mail, operation: send, key: [revision], on_success: []}}`))}`
    expect(faultsOf(orderWith(steps)).join('\n')).toMatch(/mail\.send → mail\.archive → mail\.send|call it again/)
  })
})

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
    [`- validate: $order > 0\n  error: no`, 'is a row: name a field'],
    [`- validate: $order.total.cents > 0\n  error: no`, 'has no fields'],
    [`- validate: ${'1 + '.repeat(600)}1 = 1\n  error: no`, 'more than 1000 words'],
    [`- call_service: {service: mail, operation: send, key: [${'id, '.repeat(21)}id]}`, 'has 22 values; at most 20'],
    [`- validate: ${'('.repeat(60)}1${')'.repeat(60)} = 1\n  error: no`, 'nested more than 50'],
    [`- validate: $order.total > 0`, `missing required field 'error'`],
    [`- return: 1\n- return: 2`, 'return must be the last step'],
    [`- insert: Order\n  as: order\n- insert: Order\n  as: order`, 'has a meaning already'],
    [`- insert: Order\n  as: Order`, 'must be lower-case letters'],
    [`- insert: Order\n  as: result`, 'compiled functions use themselves'],
    [`- insert: Order\n  values: {totl: 1}`, 'did you mean "total"?'],
    [`- call_service: {service: mail, operation: send, async: false}`, 'must be true'],
    [`- call_service: {service: mail, operation: send, timeout: 31}`, 'the registry allows mail.send 30 seconds'],
    [`- call_service: {service: mail, operation: send, max_retries: 4}`, 'the registry allows mail.send 3'],
    [`- call_service: {service: mail, operation: send, run_at: $order.status}`, 'run_at must be a time'],
    [`- call_service: {service: mail, operation: send, key: [nothing]}`, 'Order has no field "nothing"'],
    [`- call_service: {service: mail, operation: send, retries: 4}`, 'unknown field "retries"'],
    [
      `- call_service: {service: mail, operation: send}\n- call_service: {service: mail, operation: send}`,
      'this would be the same job',
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
    [`- call_service: {service: mail, operation: send, input: {a: $5 off}}`, '$NAME.FIELD'],
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

  it('refuse functions, files and entities of the same name', () => {
    const text = `entity: Order\nschema: commerce\nactions: [{name: act, steps: []}]`
    expect(() => compileTexts([text, text])).toThrow('the entity Order is in entity-0.yaml too')
    expect(() => compileTexts([text, text.replace('Order', 'Offer')])).toThrow(
      'the function commerce.act is made twice, for Order and for Offer',
    )
  })

  it('refuse a registry whose secrets would be compiled', () => {
    const services = servicesOf(
      `services: [{name: mail, type: a, category: b, operations: [{name: send}], runner_config: {base_url: "https://mail.example.com", headers: {Authorization: Bearer abc}}}]`,
    )
    const text = orderWith('- call_service: {service: mail, operation: send}')
    expect(() => compileTexts([text], { services })).toThrow('seems to hold a secret')
    expect(() => compileTexts([text], { services })).not.toThrow('abc')
  })
})
