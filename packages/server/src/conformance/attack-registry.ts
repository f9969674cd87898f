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
  - name: hostile-command
    type: script
    category: tests
    execution_type: shell
    operations: [{name: run, timeout: 20, max_retries: 0}]
    security_policy:
      # awk is a link to mawk, which is not listed.
      allowed_commands: [/usr/bin/printf, /usr/bin/printenv, /usr/bin/awk]
      file_access: read
      resource_limits: {memory_mb: 64, cpu_seconds: 10}
  - name: hostile-script
    type: script
    category: tests
    execution_type: shell
    operations: [{name: run, timeout: 20, max_retries: 0}]
    security_policy:
      allowed_commands: [/bin/bash]
      file_access: read
      resource_limits: {memory_mb: 64, cpu_seconds: 10}
`
}
