import { describe, expect, it } from 'vitest'
import { compileTexts, faultsOf, orderWith } from './compiler.fixture.ts'

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

  it('takes "values:" with nothing behind it for none, and {} for a row of defaults', () => {
    const insert = (values: string) =>
      compileTexts([orderWith(`- insert: Order\n  values: ${values}`, { params: '{total: numeric}' })])
    expect(insert('')).toContain('("total")\n  values (_total)')
    expect(insert('{}')).toContain('default values')
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

/** The step as its documentation has it, in a file that says nothing of fields. */
const DOCUMENTED = `entity: Order
schema: commerce
actions:
  - name: place_order
    steps:
      - insert: Order
        as: order
      - call_service:
          service: stripe
          operation: create_charge
          input: { amount: $order.total, customer: $order.customer_id }
          async: true
          timeout: 30
          max_retries: 3
          correlation_field: $order.id
          on_success: [ { update: Order SET payment_status = 'paid' WHERE id = $order.id } ]
          on_failure: [ { update: Order SET payment_status = 'failed' WHERE id = $order.id } ]
`

describe('the documented step', () => {
  it('compiles as a function and as a snippet of the documented columns and variable', () => {
    expect(compileTexts([DOCUMENTED])).toContain('create or replace function "commerce"."place_order"()')
    const snippet = compileTexts([DOCUMENTED], { isSnippet: true })
    const columns = /insert into jobs\.tb_job_run \(([^)]*)\)/.exec(snippet)?.[1]?.match(/\w+/g)
    expect(columns).toEqual(
      `identifier idempotency_key service_name operation input_data tenant_id triggered_by correlation_id entity_type entity_pk
       max_attempts timeout_seconds execution_type runner_config security_context traceparent`.split(/\s+/),
    )
    expect(snippet).toContain('into _job_id_stripecreatecharge;')
    expect(snippet).toContain(`jsonb_build_object('amount', _order.total, 'customer', _order.customer_id)`)
    expect(snippet).toContain(`"commerce"."order_stripe_create_charge_failure"(_job_run_id uuid, _error_message text)`)
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
