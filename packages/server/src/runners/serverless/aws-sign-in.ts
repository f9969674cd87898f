import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { CloudAuth } from '../../registry/check-serverless.ts'
import type { SecretSource } from '../../registry/secret-source.ts'
import { parseProfiles } from './aws-profiles.ts'

/** Where a service's AWS credentials come from, as it says and nowhere else. */
export type AwsSignIn =
  | { kind: 'keys'; accessKeyId: string; secretAccessKey: string; sessionToken: string | null }
  /** What the machine gives to every process: the SDK's default chain. */
  | { kind: 'machine' }
  | { kind: 'role'; roleArn: string; source: AwsSignIn }

/** More roles than that, one for another, are a circle. */
const MAX_SOURCES = 5

/** Reads what auth_config names; throws CONFIG_INVALID with the name, never the value, of what cannot be used. */
export function readAwsSignIn(auth: CloudAuth, secrets: SecretSource): AwsSignIn {
  switch (auth.type) {
    case 'access_key':
      return readKeys(auth, secrets)
    case 'profile':
      return readProfile(auth, secrets)
    case 'iam_role': {
      if (auth.role_arn === undefined) throw invalid('iam_role needs role_arn')
      return { kind: 'role', roleArn: auth.role_arn, source: readRoleSource(auth, secrets) }
    }
    default:
      return { kind: 'machine' }
  }
}

/** The values in it that nothing may show; a profile's stand in the middle of a file. */
export function secretsOf(signIn: AwsSignIn): string[] {
  if (signIn.kind === 'role') return secretsOf(signIn.source)
  if (signIn.kind === 'machine') return []
  return [signIn.secretAccessKey, ...(signIn.sessionToken === null ? [] : [signIn.sessionToken])]
}

function readRoleSource(auth: CloudAuth, secrets: SecretSource): AwsSignIn {
  if ((auth.access_key_id_env_var ?? auth.access_key_id_vault) !== undefined) return readKeys(auth, secrets)
  return auth.profile === undefined ? { kind: 'machine' } : readProfile(auth, secrets)
}

function readKeys(auth: CloudAuth, secrets: SecretSource): AwsSignIn {
  const accessKeyId = secrets.read(auth, 'access_key_id')
  const secretAccessKey = secrets.read(auth, 'secret_access_key')
  if (isMissing(accessKeyId)) throw invalid('the value of access_key_id is empty')
  if (isMissing(secretAccessKey)) throw invalid('the value of secret_access_key is empty')
  return { kind: 'keys', accessKeyId, secretAccessKey, sessionToken: secrets.read(auth, 'session_token') }
}

function isMissing(value: string | null): value is null {
  return value === null || value === ''
}

function readProfile(auth: CloudAuth, secrets: SecretSource): AwsSignIn {
  const profiles = parseProfiles(secrets.read(auth, 'credentials') ?? '')
  const read = (name: string, depth: number): AwsSignIn => {
    const at = `profile '${name}' of ${auth.credentials_file ?? 'credentials_file'}`
    const profile = profiles.get(name)
    if (profile === undefined) throw invalid(`${at} does not exist`)
    if (depth > MAX_SOURCES) throw invalid(`${at}: source_profile leads in a circle`)
    const roleArn = profile.get('role_arn')
    const source = profile.get('source_profile')
    if (roleArn !== undefined) {
      if (source === undefined) throw invalid(`${at} has role_arn and no source_profile`)
      return { kind: 'role', roleArn, source: read(source, depth + 1) }
    }
    const accessKeyId = profile.get('aws_access_key_id')
    const secretAccessKey = profile.get('aws_secret_access_key')
    if (accessKeyId === undefined || secretAccessKey === undefined)
      // Processes, SSO caches and token files are things that the service does not name.
      throw invalid(`${at} has no access key and no role; other ways to sign in are not taken from a profile`)
    return { kind: 'keys', accessKeyId, secretAccessKey, sessionToken: profile.get('aws_session_token') ?? null }
  }
  return read(auth.profile ?? 'default', 0)
}

function invalid(text: string): ErgonError {
  return new ErgonError('CONFIG_INVALID', text)
}
