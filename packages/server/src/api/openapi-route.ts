import type { RouteOptions } from 'fastify'

/** What the description says of a route beside its schemas: who may call it, and what of its body has no schema. */
export function describeAccess({ config = {}, schema }: RouteOptions): Record<string, unknown> {
  const { access, isSignable = false, bodyMediaType } = config
  const said = schema?.description
  const scope = `Needs the scope \`${access ?? ''}\`${isSignable ? ', or a signed address' : ''}.`
  const needs = access === 'public' ? 'Needs no token.' : scope
  return {
    description: [...(said === undefined ? [] : [said]), needs].join('\n\n'),
    ...(access === 'public' ? { security: [] } : {}),
    ...(isSignable ? { security: [{ token: [] }, { signature: [] }] } : {}),
    ...(bodyMediaType === undefined ? {} : { consumes: [bodyMediaType], body: { description: 'The bytes' } }),
  }
}
