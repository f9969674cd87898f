import { type Located, type Place } from '../platform/yaml/located-yaml.ts'
import { expandReferences, referencedVariables } from './references.ts'

/** Something outside the registry that a service names, and where it names it. */
export interface Need {
  kind: 'variable' | 'secret file' | 'vault secret' | 'script'
  name: string
  at: Place
}

/** Texts that are no configuration: a program or a pattern may hold `${` for reasons of its own. */
const NOT_EXPANDED = new Set(['code', 'input_schema', 'output_schema'])
const HOLDS_SECRET_NAMES = new Set(['auth', 'auth_config', 'registry_auth'])

/** Everything that a service, as written, takes from outside its registry. */
export function findNeeds(service: Located): Need[] {
  const needs: Need[] = []
  const visit = (node: Located, key: string, parentKey: string): void => {
    if (NOT_EXPANDED.has(key)) return
    if (node.kind === 'list') for (const item of node.items) visit(item, '', key)
    else if (node.kind === 'map') for (const [inner, { value }] of node.entries) visit(value, inner, key)
    else if (typeof node.value === 'string') {
      const { value, at } = node
      if (HOLDS_SECRET_NAMES.has(parentKey) && key.endsWith('_env_var'))
        needs.push({ kind: 'variable', name: value, at })
      else if (HOLDS_SECRET_NAMES.has(parentKey) && key.endsWith('_file'))
        needs.push({ kind: 'secret file', name: value, at })
      else if (HOLDS_SECRET_NAMES.has(parentKey) && key.endsWith('_vault'))
        needs.push({ kind: 'vault secret', name: value, at })
      else if (key === 'script' && parentKey === 'runner_config') needs.push({ kind: 'script', name: value, at })
      else for (const name of referencedVariables(value)) needs.push({ kind: 'variable', name, at })
    }
  }
  visit(service, '', '')
  return needs
}

/** The plain service with every reference replaced, wherever references stand for something. */
export function expandService(
  plain: Record<string, unknown>,
  variables: ReadonlyMap<string, string>,
): Record<string, unknown> {
  const expand = (value: unknown): unknown => {
    if (typeof value === 'string') return expandReferences(value, variables)
    if (Array.isArray(value)) return value.map(expand)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [key, NOT_EXPANDED.has(key) ? each : expand(each)]),
    )
  }
  return expand(plain) as Record<string, unknown>
}
