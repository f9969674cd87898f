/** A registry with one valid service of each execution type; tests replace or add lines. */
export const VALID_REGISTRY = `services:
  - name: Stripe
    type: payment
    category: financial
    operations:
      - name: create_charge
        input_schema: {amount: number}
        max_retries: 1
    runner_config:
      base_url: https://api.stripe.com/v1
      auth_type: bearer
      auth_config: {token_env_var: STRIPE_TOKEN}
      headers: {X-Account: "\${ACCOUNT}"}
    security_policy: {allowed_domains: [api.stripe.com], rate_limit_per_minute: 60, max_response_size: 1000000}
  - name: report
    type: script
    category: internal
    execution_type: shell
    operations: [{name: build, input_schema: {month: string}}]
    security_policy:
      allowed_commands: [/usr/bin/report]
      resource_limits: {memory_mb: 256, cpu_seconds: 10}
  - name: convert
    type: container
    category: media
    execution_type: DOCKER
    operations: [{name: run, input_schema: {file: string}}]
    runner_config:
      image: example.org/convert@sha256:${'a'.repeat(64)}
      volumes: [{host_path: /srv/media/in, container_path: /in}]
    security_policy:
      resource_limits: {memory_mb: 256, cpu_cores: 1}
      volume_restrictions: {allowed_host_paths: [/srv/media]}
  - name: resize
    type: function
    category: media
    execution_type: serverless
    operations: [{name: run, input_schema: {file: string}}]
    runner_config: {provider: aws, function_name: resize, region: eu-central-1}
    security_policy: {allowed_regions: [eu-central-1], cost_limits: {max_invocations_per_hour: 100}}
  - name: fit
    type: computation
    category: science
    execution_type: sandbox
    operations:
      - name: line
        timeout: 20
        input_schema: {parameters: {degree: integer}}
        output_schema: {result_json: {slope: number}}
    runner_config: {environment: python-sci, code: "print('\${NOT_A_REFERENCE}')"}
    security_policy: {resource_limits: {memory_mb: 256, cpu_seconds: 10}}
`
