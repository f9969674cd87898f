import { describe, expect, it } from 'vitest'
import { findAddressProblem } from './check-serverless.ts'
import { parseRegistry } from './parse-registry.ts'

function faultsOf(runnerConfig: string, policy = '{}'): string[] {
  const text = `services:
  - name: f
    type: function
    category: tests
    execution_type: serverless
    operations: [{name: run}]
    runner_config: ${runnerConfig}
    security_policy: ${policy}
`
  return parseRegistry(text, 'r.yaml').faults.map(({ path, message }) => `${path}: ${message}`)
}

const AWS = 'provider: aws, region: eu-central-1, function_name: resize'
const GCP = 'provider: gcp, project: my-project, function_name: resize'

describe('a serverless service', () => {
  it.each([
    `{${AWS}}`,
    `{${AWS}, auth: {type: access_key, access_key_id_vault: "exec:id", secret_access_key_vault: "vault:kv/aws#key"}}`,
    `{${AWS}, auth: {type: iam_role, role_arn: "\${ROLE}", access_key_id_vault: "exec:a", secret_access_key_env_var: B}}`,
    `{${GCP}, auth: {type: service_account, service_account_key_vault: "exec:key"}}`,
    `{${AWS}, qualifier: $LATEST, auth: {type: access_key, access_key_id_env_var: A, secret_access_key_env_var: B}}`,
    '{provider: aws, region: eu-central-1, function_name: "arn:aws:lambda:eu-central-1:123456789012:function:resize"}',
    `{${AWS}, auth_config: {type: iam_role, role_arn: "arn:aws:iam::123456789012:role/caller"}}`,
    `{${AWS}, auth_config: {type: iam_role, role_arn: "\${ROLE}", access_key_id_env_var: A, secret_access_key_env_var: B}}`,
    `{${AWS}, auth_config: {type: profile, profile: live, credentials_file: /etc/aws/credentials}}`,
    '{provider: aws, region: "${REGION}", function_name: "${NAME}"}',
    `{${GCP}}`,
    `{${GCP}, endpoint: "https://resize-abc.a.run.app/v1", auth_config: {type: none}}`,
    `{${GCP}, auth_config: {type: service_account, service_account_key_file: /etc/gcp/key.json}}`,
  ])('may say %s', (config) => {
    expect(faultsOf(config)).toEqual([])
  })

  it.each([
    [`{${AWS.replace('resize', '../../x')}}`, 'is not what aws calls a function name'],
    [`{${AWS.replace('resize', '"a.evil.example/"')}}`, 'is not what aws calls a function name'],
    [`{${AWS.replace('eu-central-1', 'evil.example#')}}`, 'is not what aws calls a region'],
    [`{${AWS.replace('resize', '"arn:aws:lambda:us-east-1:123456789012:function:f"')}}`, 'is in another region than'],
    [`{${AWS}, qualifier: "a b"}`, 'is not what aws calls a qualifier'],
    [`{${AWS}, project: my-project}`, 'has no effect with provider aws'],
    [`{${GCP.replace('my-project', 'evil.example')}}`, 'is not what gcp calls a project'],
    [`{${GCP}, qualifier: "1"}`, 'has no effect with provider gcp'],
    [`{${GCP}, auth_config: {type: access_key}}`, "access_key is none of gcp's: default_credentials, service_account"],
    [`{${GCP}, auth_config: {type: service_account}}`, 'service_account_key_env_var or service_account_key_file'],
    [
      `{${GCP}, auth_config: {type: service_account, service_account_key_env_var: A, service_account_key_vault: "exec:a"}}`,
      'and only one of them',
    ],
    [
      `{${AWS}, auth: {type: access_key, access_key_id_vault: "exec:a", access_key_id_env_var: A, secret_access_key_env_var: B}}`,
      'auth.access_key_id_vault: stands beside access_key_id_env_var',
    ],
    [`{${AWS}, auth_config: {type: default_credentials, access_key_id_vault: "exec:a"}}`, 'has no effect'],
    [`{${AWS}, auth_config: {type: access_key}}`, 'access_key needs access_key_id_env_var'],
    [`{${AWS}, auth_config: {type: profile, profile: live}}`, 'profile needs credentials_file'],
    [
      `{${AWS}, auth_config: {role_arn: "arn:aws:iam::123456789012:role/a"}}`,
      'no effect with type default_credentials',
    ],
    [`{${AWS}, auth_config: {type: iam_role, role_arn: caller}}`, 'must be arn:aws:iam::ACCOUNT:role/NAME'],
    [
      `{${AWS}, auth_config: {type: iam_role, role_arn: "\${R}", access_key_id_env_var: A}}`,
      'an access key is access_key_id_env_var and secret_access_key_env_var',
    ],
    [`{${AWS}, endpoint: "http://127.0.0.1:3002"}`, 'allowed_networks: ["127.0.0.1/32"]'],
    [`{${AWS}, endpoint: "https://169.254.169.254"}`, 'is a private address'],
    [`{${AWS}, endpoint: "http://lambda.example.org"}`, 'must begin with https://'],
    [`{${AWS}, endpoint: "https://user:pass@lambda.example.org"}`, 'must be an address alone'],
    [`{${AWS}, endpoint: "file:///etc/passwd"}`, 'must be a URL that begins with'],
  ])('may not say %s', (config, fault) => {
    expect(faultsOf(config).join('\n')).toContain(fault)
  })

  it('is held to its own policy', () => {
    expect(faultsOf(`{${GCP}}`, '{allowed_regions: [europe-west1]}').join()).toContain('allowed_regions')
    expect(faultsOf(`{${GCP}}`, '{allowed_regions: [us-central1]}')).toEqual([])
    expect(faultsOf(`{${GCP}}`, '{allowed_providers: [aws]}').join()).toContain('allowed_providers')
    expect(faultsOf(`{provider: azure, function_name: f}`).join()).toContain(
      'azure is not supported yet; providers: aws, gcp',
    )
  })
})

it('sends credentials to no plain or private address that is not named', () => {
  const problem = (url: string, networks: string[] = []) => findAddressProblem(new URL(url), networks)
  expect(problem('https://lambda.example.org')).toBeNull()
  expect(problem('http://127.0.0.1:1', ['127.0.0.1/32'])).toBeNull()
  expect(problem('http://2130706433', ['10.0.0.0/8'])).toContain('is a private address')
  expect(problem('https://[::ffff:169.254.169.254]')).toContain('is a private address')
  expect(problem('http://93.184.216.34')).toContain('https://')
})
