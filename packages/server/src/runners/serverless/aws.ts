import { pipeline, Readable } from 'node:stream'
import type { InvokeCommandInput, InvokeCommandOutput, LambdaClient } from '@aws-sdk/client-lambda'
import type { Failure } from '@ergon/contract'
import { authOf } from '../../registry/check-serverless.ts'
import type { ServiceConfig } from '../../registry/create-services.ts'
import { readAnswer } from './answer-text.ts'
import { awsHost, createCredentialProvider, SignInError } from './aws-credentials.ts'
import { readReport } from './aws-report.ts'
import { type AwsSignIn, readAwsSignIn, secretsOf } from './aws-sign-in.ts'
import { boundedStream, ResponseTooLargeError } from './bounded-body.ts'
import { describeFunctionError } from './function-error.ts'
import { createGuardedAgents } from './guarded-agents.ts'
import { type FunctionAnswer, type FunctionCall, type FunctionProvider, noAnswer } from './provider.ts'
import { describeUpstreamError } from './upstream-failure.ts'

const KIB = 1_024
const MIB = 1_024 * KIB
const CONNECT_TIMEOUT_MS = 10_000

type AwsService = ServiceConfig<'serverless'>['service']

/** AWS Lambda, by its Invoke call. */
export const aws: FunctionProvider = {
  limits: { request: 6 * MIB, event: 256 * KIB, response: 6 * MIB },
  prices: { perGbSecond: 0.0000166667, perCall: 0.0000002 },
  defaultMemoryMb: 128,
  prepare({ service, secrets }) {
    const signIn = readAwsSignIn(authOf(service.runner_config), secrets)
    return async () => {
      const { InvokeCommand } = await import('@aws-sdk/client-lambda')
      let issued: readonly string[] = []
      const client = await createClient(service, signIn, (values) => (issued = values))
      return {
        invoke: async (call) => {
          try {
            const command = new InvokeCommand(invocationOf(service, call))
            return readOutput(await client.send(command, { abortSignal: call.signal }))
          } catch (error) {
            return { ...noAnswer, failure: describeError(error) }
          } finally {
            for (const secret of [...secretsOf(signIn), ...issued]) call.registerSecret(secret)
          }
        },
      }
    }
  },
}

async function createClient(
  service: AwsService,
  signIn: AwsSignIn,
  onIssued: (secrets: readonly string[]) => void,
): Promise<LambdaClient> {
  const { LambdaClient: Client } = await import('@aws-sdk/client-lambda')
  const { runner_config: config, security_policy: policy } = service
  const { region = '' } = config
  const agents = createGuardedAgents(policy.allowed_networks)
  const requestHandler = {
    httpAgent: agents.http,
    httpsAgent: agents.https,
    connectionTimeout: CONNECT_TIMEOUT_MS,
  }
  const client = new Client({
    region,
    // Always said: otherwise variables and files of the machine may name another.
    endpoint: config.endpoint ?? `https://${awsHost('lambda', region)}`,
    credentials: await createCredentialProvider(signIn, {
      region,
      stsEndpoint: authOf(config).sts_endpoint ?? null,
      requestHandler,
      sessionName: `ergon-${service.name}`.slice(0, 64),
      onIssued,
    }),
    requestHandler,
    // A call may have run although no answer came: the queue counts attempts, nobody else.
    maxAttempts: 1,
  })
  boundAnswers(client, aws.limits.response)
  return client
}

/** The SDK holds a whole answer in memory before anybody sees it, so it is bounded while it comes. */
function boundAnswers(client: LambdaClient, maxBytes: number): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args)
      const { response } = result
      if (isBodied(response)) response.body = pipeline(response.body, boundedStream(maxBytes), () => {})
      return result
    },
    // Next to the connection: what reads the body comes after it.
    { step: 'deserialize', priority: 'low', name: 'boundAnswer' },
  )
}

function isBodied(response: unknown): response is { body: Readable } {
  return typeof response === 'object' && response !== null && 'body' in response && response.body instanceof Readable
}

function invocationOf({ runner_config: config }: AwsService, call: FunctionCall): InvokeCommandInput {
  const input = {
    FunctionName: config.function_name,
    Payload: Buffer.from(call.payloadJson),
    ...(config.qualifier === undefined ? {} : { Qualifier: config.qualifier }),
  }
  if (call.isEvent) return { ...input, InvocationType: 'Event' }
  const context = Buffer.from(JSON.stringify({ custom: { ergon_job_id: call.jobId } })).toString('base64')
  return { ...input, InvocationType: 'RequestResponse', LogType: 'Tail', ClientContext: context }
}

function readOutput(output: InvokeCommandOutput): FunctionAnswer {
  const answer = readAnswer(output.Payload ?? new Uint8Array(), true)
  const payloadJson = 'json' in answer ? answer.json : null
  const logTail = output.LogResult === undefined ? null : Buffer.from(output.LogResult, 'base64').toString('utf8')
  const problem = 'json' in answer ? null : answer
  const { FunctionError: kind, StatusCode: statusCode = null } = output
  return {
    failure:
      findStatusProblem(statusCode) ??
      (kind === undefined ? problem : describeFunctionError(kind.slice(0, 40), payloadJson)),
    statusCode,
    payloadJson,
    executedVersion: output.ExecutedVersion ?? null,
    logTail,
    billed: readReport(logTail),
  }
}

/** The SDK takes every status below 300 for a success. */
function findStatusProblem(statusCode: number | null): Failure | null {
  // What it makes of status 000.
  const status = Math.max(0, statusCode ?? 0)
  return status >= 200
    ? null
    : describeUpstreamError({ asked: askedOf(false), statusCode: status, code: '', message: '' })
}

/** The failure that an error stands for; throws what is none of AWS or the network. */
function describeError(error: unknown) {
  // The SDK adds the status of the answer, which was good.
  if (error instanceof ResponseTooLargeError) throw error
  const isSignIn = error instanceof SignInError
  const cause = isSignIn ? error.cause : error
  const failure =
    cause instanceof Error ? describeUpstreamError({ asked: askedOf(isSignIn), ...readError(cause) }) : null
  if (failure !== null) return failure
  if (!isSignIn) throw error
  const name = cause instanceof Error ? cause.name : 'unknown error'
  return {
    category: 'INTERNAL_ERROR',
    code: 'CREDENTIALS_UNAVAILABLE',
    message: `No AWS credentials could be had (${name}); auth_config of the service says where they come from.`,
    evidence: null,
    details: null,
  } as const
}

function askedOf(isSignIn: boolean): string {
  return isSignIn ? 'the sign-in to AWS' : 'AWS Lambda'
}

/** The SDK puts the status into $metadata, and Node's code of a network error into code. */
function readError(error: Error): { statusCode: number | null; code: string; message: string } {
  const metadata = '$metadata' in error && typeof error.$metadata === 'object' ? error.$metadata : null
  const status = metadata !== null && 'httpStatusCode' in metadata ? metadata.httpStatusCode : null
  // An answer that began well and broke off is a fault of the network.
  const statusCode = typeof status === 'number' && status >= 300 ? status : null
  const code = 'code' in error && typeof error.code === 'string' && statusCode === null ? error.code : error.name
  return { statusCode, code, message: error.message }
}
