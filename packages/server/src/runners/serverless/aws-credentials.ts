import type { LambdaClientConfig } from '@aws-sdk/client-lambda'
import type { FromTemporaryCredentialsOptions } from '@aws-sdk/credential-providers'
import type { AwsSignIn } from './aws-sign-in.ts'

/** Signing in failed, before the function was called. */
export class SignInError extends Error {
  constructor(cause: unknown) {
    super('signing in failed', { cause })
  }
}

export type AwsCredentialProvider = Extract<NonNullable<LambdaClientConfig['credentials']>, () => unknown>

export interface RoleOptions {
  region: string
  /** Null for the region's own STS. */
  stsEndpoint: string | null
  requestHandler: NonNullable<LambdaClientConfig['requestHandler']>
  /** Names whoever assumes the role in the account's own logs. */
  sessionName: string
  /** Told of every credential that is given out: AWS quotes the session token of a signature that it refuses. */
  onIssued(secrets: readonly string[]): void
}

const ROLE_SECONDS = 3_600
const SIGN_IN_ATTEMPTS = 3

/** The SDK's provider for what a service names; whatever it throws is a SignInError. Roles are renewed before they end. */
export async function createCredentialProvider(
  signIn: AwsSignIn,
  { region, stsEndpoint, requestHandler, sessionName, onIssued }: RoleOptions,
): Promise<AwsCredentialProvider> {
  // Not imported above: the providers take memory that a worker without such a service has no use for.
  const { fromNodeProviderChain, fromTemporaryCredentials } = await import('@aws-sdk/credential-providers')
  const provide = (from: AwsSignIn): AwsCredentialProvider => {
    if (from.kind === 'machine') return fromNodeProviderChain({ clientConfig: { region, requestHandler } })
    if (from.kind === 'keys') {
      const { accessKeyId, secretAccessKey, sessionToken } = from
      return async () => ({
        accessKeyId,
        secretAccessKey,
        ...(sessionToken === null || sessionToken === '' ? {} : { sessionToken }),
      })
    }
    const clientConfig: FromTemporaryCredentialsOptions['clientConfig'] = {
      region,
      endpoint: stsEndpoint ?? `https://${awsHost('sts', region)}`,
      requestHandler,
      maxAttempts: SIGN_IN_ATTEMPTS,
    }
    return fromTemporaryCredentials({
      masterCredentials: provide(from.source),
      params: { RoleArn: from.roleArn, RoleSessionName: sessionName, DurationSeconds: ROLE_SECONDS },
      clientConfig,
    })
  }
  const provider = provide(signIn)
  return async (...options) => {
    try {
      const credentials = await provider(...options)
      const { secretAccessKey, sessionToken } = credentials
      onIssued(sessionToken === undefined ? [secretAccessKey] : [secretAccessKey, sessionToken])
      return credentials
    } catch (error) {
      throw new SignInError(error)
    }
  }
}

const DNS_SUFFIXES = [
  ['cn-', 'amazonaws.com.cn'],
  ['us-isob-', 'sc2s.sgov.gov'],
  ['us-iso-', 'c2s.ic.gov'],
] as const

/** The host of a service in a region, whose syntax is checked; no variable or file of the machine names another. */
export function awsHost(service: 'lambda' | 'sts', region: string): string {
  const suffix = DNS_SUFFIXES.find(([prefix]) => region.startsWith(prefix))?.[1] ?? 'amazonaws.com'
  return `${service}.${region}.${suffix}`
}
