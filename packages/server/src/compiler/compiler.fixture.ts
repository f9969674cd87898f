import { loadModule, parsePlPgSQLSync, parseSync } from 'libpg-query'
import { parseRegistry } from '../registry/parse-registry.ts'
import { compileEntities } from './compile.ts'
import { CompileError } from './compile-error.ts'
import type { Services } from './plan/service-lookup.ts'
import { describeService } from './read-services.ts'

/** The parser is WebAssembly, which loads asynchronously and parses synchronously. */
await loadModule()

const REGISTRY = `services:
  - name: Stripe
    type: payment
    category: financial
    operations:
      - name: create_charge
        input_schema: {amount: number, customer: string, note: string?}
        output_schema: {charge_id: string, fee: number, detail: {paid: boolean, attempts: integer}, raw: any}
      - name: refund
        on_worker_lost: retry
        timeout: 0.5
        input_schema:
          type: object
          required: [amount]
          properties:
            amount: {type: number, exclusiveMinimum: 0, maximum: 1000}
            count: {type: integer}
            reason: {type: string, maxLength: 10, enum: [damaged, lost, "it's"]}
            lines: {type: array, items: {type: object, required: [sku], properties: {sku: {type: string}}, additionalProperties: false}}
    runner_config: {base_url: "https://api.stripe.com/v1"}
  - name: mail
    type: messages
    category: internal
    operations: [{name: send}, {name: archive}]
    runner_config: {base_url: "https://mail.example.com/"}
`

export function servicesOf(registry: string = REGISTRY): Services {
  const { profiles, faults } = parseRegistry(registry, 'registry.yaml')
  if (faults.length > 0) throw new Error(faults.map(({ message }) => message).join('\n'))
  return new Map([...profiles.development].map(([name, checked]) => [name, describeService(checked, null)]))
}

const SERVICES = servicesOf()

/** The SQL of entity texts, which PostgreSQL's own parser must have taken. */
export function compileTexts(texts: readonly string[], { isSnippet = false, services = SERVICES } = {}): string {
  const sources = texts.map((text, index) => ({ file: `entity-${index}.yaml`, text }))
  const sql = compileEntities(sources, { services, version: '1.2.3', isSnippet })
    .map((file) => file.sql)
    .join('\n')
  if (isSnippet) requireParsable(hostFunction(sql))
  else requireParsable(sql)
  return sql
}

/** The faults of a text, without the name of its file; empty where it compiles. */
export function faultsOf(text: string, { isSnippet = false } = {}): string[] {
  try {
    compileTexts([text], { isSnippet })
    return []
  } catch (error) {
    if (!(error instanceof CompileError)) throw error
    return error.faults.map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`)
  }
}

/** An entity with fields and one action of these steps; steps begin at line 7, column 7. */
export function orderWith(steps: string, { params = '{}', fields = ORDER_FIELDS } = {}): string {
  return [
    'entity: Order',
    'schema: commerce',
    `fields: ${fields}`,
    'actions:',
    `  - name: act`,
    `    params: ${params}`,
    `    steps:`,
    ...steps.split('\n').map((line) => `      ${line}`),
    '',
  ].join('\n')
}

const ORDER_FIELDS =
  '{customer_id: uuid, total: numeric, quantity: integer, status: text, note: text, placed_at: timestamptz, meta: jsonb, tags: "text[]", is_paid: boolean, revision: integer, charge_id: text}'

/** Snippets in the body of a function that somebody else generated, between the dollar quotes that most people use. */
export function hostFunction(snippets: string, declarations = ''): string {
  const [steps = ''] = snippets.split('-- Callbacks:')
  const declared = [...steps.matchAll(/ declare (\S+ uuid;)$/gm)].map(([, variable]) => variable)
  return [
    'create or replace function host(_order commerce."order") returns uuid language plpgsql as $$',
    'declare',
    ...new Set(declared),
    declarations,
    'begin',
    steps,
    `return ${declared.at(-1)?.split(' ')[0] ?? 'null'};`,
    'end $$;',
  ].join('\n')
}

/** Throws what PostgreSQL's parser of SQL or of PL/pgSQL says. */
function requireParsable(sql: string): void {
  const { stmts = [] } = parseSync(sql) as { stmts?: { stmt?: Record<string, unknown> }[] }
  const functions = [
    ...sql.matchAll(/^create or replace function [^$]*\$ergon\$[^$]*\$ergon\$;/gm),
    ...sql.matchAll(/^create or replace function host[^]*/gm),
  ]
  for (const [text] of functions) parsePlPgSQLSync(text)
  if (stmts.length === 0 && /^(create|select)/m.test(sql)) throw new Error('the parser saw no statement')
}
