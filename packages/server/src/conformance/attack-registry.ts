import { dirname } from 'node:path'

/** What an engine and a host hold ready for hostile docker jobs. */
export interface DockerBait {
  image: string
  /** Pinned to what the engine does not have under that name any more. */
  driftedImage: string
  /** A link in a folder that is allowed, to one that is not. */
  linkInside: string
  /** Ergon's data folder. */
  home: string
}

/** The service registry of the attack matrix: what hostile calls are sent to, each service allowing as little as it can. */
export function composeAttackRegistry(redirectingOrigin: string, docker: DockerBait | null): string {
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
  - name: hostile-input
    type: computation
    category: tests
    execution_type: sandbox
    operations:
      - name: run
        timeout: 20
        max_retries: 0
        input_schema:
          type: object
          properties:
            parameters:
              type: object
              additionalProperties: false
              properties:
                word: {type: string, pattern: "^(a+)+$"}
                items: {type: array, uniqueItems: true}
    runner_config: {environment: python-sci, code: pass}
    security_policy: {resource_limits: {memory_mb: 64}}
${docker === null ? '' : composeDockerServices(docker)}`
}

function composeDockerServices({ driftedImage, image, linkInside, home }: DockerBait): string {
  const allowing = (root: string, hostPath: string) => ({
    config: { image, volumes: [{ host_path: hostPath, container_path: '/data' }] },
    policy: { volume_restrictions: { allowed_host_paths: [root] } },
  })
  const services = {
    'hostile-drift': { config: { image: driftedImage }, policy: {} },
    'hostile-link': allowing(dirname(linkInside), linkInside),
    'hostile-kernel': allowing('/', '/proc'),
    'hostile-home': allowing('/', home),
    'hostile-root': allowing('/', '/'),
  }
  return Object.entries(services)
    .map(([name, { config, policy }]) => {
      const service = {
        ...{ name, type: 'container', category: 'tests', execution_type: 'docker' },
        operations: [{ name: 'run', timeout: 20, max_retries: 0 }],
        runner_config: { ...config, pull_policy: 'never' },
        security_policy: { resource_limits: { memory_mb: 64, cpu_cores: 1 }, ...policy },
      }
      return `  - ${JSON.stringify(service)}\n`
    })
    .join('')
}
