import { describe, expect, it } from 'vitest'
import { SecretSource } from '../../registry/secret-source.ts'
import { readAwsSignIn } from './aws-sign-in.ts'

const FILE = `; of a machine
[default]
aws_access_key_id=AKIADEFAULT
aws_secret_access_key = with/slash+and=equals   # a remark
[profile role]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = default
[round]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = round
[process]
credential_process = /bin/sh -c id
s3 =
  aws_access_key_id = nested
`
const secrets = new SecretSource({
  variables: { ID: 'AKIA1', KEY: 's3cr3t', EMPTY: '' },
  secretFiles: { '/aws': FILE },
  vaultSecrets: { 'exec:id': 'AKIA1', 'exec:key': 's3cr3t' },
})
const profile = (name: string) => readAwsSignIn({ type: 'profile', profile: name, credentials_file: '/aws' }, secrets)
const DEFAULT = {
  kind: 'keys',
  accessKeyId: 'AKIADEFAULT',
  secretAccessKey: 'with/slash+and=equals',
  sessionToken: null,
}

describe('where AWS credentials come from', () => {
  it('is what the service names', () => {
    const keys = { access_key_id_env_var: 'ID', secret_access_key_env_var: 'KEY' }
    const expected = { kind: 'keys', accessKeyId: 'AKIA1', secretAccessKey: 's3cr3t', sessionToken: null }
    expect(readAwsSignIn({ type: 'access_key', ...keys }, secrets)).toEqual(expected)
    const role = { type: 'iam_role', role_arn: 'arn:aws:iam::123456789012:role/a' } as const
    expect(readAwsSignIn({ ...role, ...keys }, secrets)).toMatchObject({ kind: 'role', source: expected })
    const stored = { access_key_id_vault: 'exec:id', secret_access_key_vault: 'exec:key' }
    expect(readAwsSignIn({ ...role, ...stored }, secrets)).toMatchObject({ kind: 'role', source: expected })
    expect(readAwsSignIn(role, secrets)).toMatchObject({ kind: 'role', source: { kind: 'machine' } })
    expect(readAwsSignIn({ type: 'default_credentials' }, secrets)).toEqual({ kind: 'machine' })
  })

  it('is a profile of a file, or the role that it names', () => {
    expect(profile('default')).toEqual(DEFAULT)
    expect(profile('role')).toEqual({ kind: 'role', roleArn: 'arn:aws:iam::123456789012:role/a', source: DEFAULT })
  })

  it.each([
    ['round', 'leads in a circle'],
    ['process', 'other ways to sign in are not taken from a profile'],
    ['nobody', "profile 'nobody' of /aws does not exist"],
  ])('is not profile %s', (name, problem) => {
    expect(() => profile(name)).toThrow(problem)
  })

  it('is no empty variable', () => {
    const keys = { access_key_id_env_var: 'ID', secret_access_key_env_var: 'EMPTY' }
    expect(() => readAwsSignIn({ type: 'access_key', ...keys }, secrets)).toThrow(
      'the value of secret_access_key is empty',
    )
  })
})
