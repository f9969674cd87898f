import { randomBytes } from 'node:crypto'
import { request as forward, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { findFreePort } from '../../src/testing/find-free-port.ts'
import { findSignatureFault, type AwsKey } from './aws-signature.ts'
import { startChild } from './child-server.ts'
import { listen } from './listen.ts'

const ROLE = 'arn:aws:iam::123456789012:role/caller'
const HOUR_MS = 3_600_000

export interface LocalAws {
  /** Lambda and STS at once. */
  url: string
  accessKeyId: string
  secretAccessKey: string
  activeRequests(): number
  stop(): Promise<void>
}

/**
 * A local Lambda (serverless-offline) behind what it lacks: signatures are checked as AWS documents them, and the role
 * "caller" can be assumed, by answers of the shape that STS documents. Takes some seconds.
 */
export async function startAws(): Promise<LocalAws> {
  const lambdaPort = await findFreePort()
  const lambda = await startChild(
    [
      ...['node_modules/.bin/sls', 'offline', 'start', '--host', '127.0.0.1'],
      ...['--httpPort', String(await findFreePort()), '--lambdaPort', String(lambdaPort)],
    ],
    new RegExp(`listening on http://127.0.0.1:(${lambdaPort})`),
  )
  const accessKeyId = 'AKIALONGTERM'
  const secretAccessKey = randomBytes(20).toString('hex')
  const keys = new Map<string, AwsKey>([[accessKeyId, { secret: secretAccessKey, token: undefined }]])
  const front = await listen(async (request, response) => {
    const body = await buffer(request)
    const fault = findSignatureFault(request, body, keys)
    if (fault !== null) refuse(response, fault)
    else if (request.url?.startsWith('/2015-03-31/') === true) passOn(request, body, response, lambdaPort)
    else assumeRole(body, response, keys)
  })
  return {
    url: front.url,
    activeRequests: () => front.activeRequests(),
    accessKeyId,
    secretAccessKey,
    async stop() {
      await front.stop()
      await lambda.stop()
    },
  }
}

function refuse(response: ServerResponse, code: string): void {
  response.writeHead(403, { 'content-type': 'application/json', 'x-amzn-errortype': code })
  response.end(JSON.stringify({ message: 'The security token included in the request is invalid.' }))
}

function passOn({ url, method, headers }: IncomingMessage, body: Buffer, response: ServerResponse, port: number): void {
  const onward = forward({ host: '127.0.0.1', port, path: url, method, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 500, answer.headers)
    answer.pipe(response)
  })
  onward.once('error', () => response.destroy())
  response.once('close', () => onward.destroy())
  onward.end(body)
}

function assumeRole(body: Buffer, response: ServerResponse, keys: Map<string, AwsKey>): void {
  const form = new URLSearchParams(body.toString())
  response.setHeader('content-type', 'text/xml')
  if (form.get('Action') !== 'AssumeRole' || form.get('RoleArn') !== ROLE) {
    response.writeHead(403)
    response.end(
      '<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>',
    )
    return
  }
  const id = `ASIA${randomBytes(8).toString('hex').toUpperCase()}`
  const secret = randomBytes(20).toString('hex')
  const token = randomBytes(40).toString('base64')
  keys.set(id, { secret, token })
  response.end(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/caller/${form.get('RoleSessionName')}</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>${secret}</SecretAccessKey><SessionToken>${token}</SessionToken>
<Expiration>${new Date(Date.now() + HOUR_MS).toISOString()}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
}
