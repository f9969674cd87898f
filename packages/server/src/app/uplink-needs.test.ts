import { expect, it } from 'vitest'
import { parseRegistry } from '../registry/parse-registry.ts'
import { findUplinkNeeds, requireSupport } from './uplink-needs.ts'

function needsOf(...policies: string[]) {
  const services = policies.map(
    (policy, index) =>
      `  - {name: s${index}, type: t, category: c, execution_type: shell, operations: [{name: o}], security_policy: {allowed_commands: [/usr/bin/id], ${policy}}}`,
  )
  const parsed = parseRegistry(`services:\n${services.join('\n')}\n`, 'r.yaml')
  expect(parsed.faults).toEqual([])
  return findUplinkNeeds(parsed.profiles.production.values())
}

it('needs nothing for services that stay in', () => {
  expect(needsOf('network_access: none', 'network_access: localhost')).toBeNull()
})

it('needs the private networks of all services that want out, each once', () => {
  const first = 'network_access: all, allowed_networks: [10.1.0.0/16, 10.2.0.0/16]'
  expect(needsOf('network_access: none', first, 'network_access: all, allowed_networks: [10.2.0.0/16]')).toEqual({
    services: ['s1', 's2'],
    networks: ['10.1.0.0/16', '10.2.0.0/16'],
  })
})

it.each([
  [{ allowed: false, networks: [] }, 'gives no uplinks'],
  [{ allowed: true, networks: [] }, 'does not lead to 10.1.0.0/16'],
])('refuses services for which the running sandboxd %j was not started', (support, says) => {
  const needs = { services: ['mirror'], networks: ['10.1.0.0/16'] }
  expect(() => requireSupport(needs, support)).toThrow(says)
  expect(() => requireSupport(needs, support)).toThrow("service 'mirror' has network_access all")
  requireSupport(needs, { allowed: true, networks: ['10.1.0.0/16'] })
})
