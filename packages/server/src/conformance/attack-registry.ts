/** The service registry of the attack matrix: what hostile calls are sent to, each service allowing as little as it can. */
export function composeAttackRegistry(redirectingOrigin: string): string {
  return `services:
  - name: hostile-address
    type: api
    category: tests
    operations: [{name: call, timeout: 20, max_retries: 0}]
    runner_config: {base_url: "${redirectingOrigin}"}
    # Every name is allowed, and the server that redirects is the one private place.
    security_policy: {allowed_domains: ["*"], allowed_networks: [127.0.0.1/32]}
  - name: hostile-name
    type: api
    category: tests
    operations: [{name: call, timeout: 20, max_retries: 0}]
    runner_config: {base_url: "${redirectingOrigin}"}
    security_policy: {allowed_networks: [127.0.0.0/8]}
`
}
