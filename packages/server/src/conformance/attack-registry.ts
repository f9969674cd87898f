/** The service registry of the attack matrix: what hostile calls are sent to, each service allowing as little as it can. */
export const ATTACK_REGISTRY = `services:
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
