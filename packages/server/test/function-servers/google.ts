import { createSign, createVerify, generateKeyPairSync } from 'node:crypto'
import { request as forward } from 'node:http'
import { text } from 'node:stream/consumers'
import { z } from 'zod'
import { startChild } from './child-server.ts'
import { listen } from './listen.ts'

const GOOGLE_TOKEN_URL = 'https://oauth2.googleapis.com/token'
const EMAIL = 'caller@my-project.iam.gserviceaccount.com'
const HOUR = 3_600

export interface LocalGoogle {
  /** Wants an ID token for itself, but below /open. */
  url: string
  /** The key of the service account that may call it, as JSON. */
  key: string
  activeRequests(): number
  stop(): Promise<void>
}

const claimsSchema = z.object({
  iss: z.string(),
  aud: z.string(),
  exp: z.number(),
  target_audience: z.string().optional(),
})

/** Google's functions framework behind a check of ID tokens as Cloud Run does it, and the token server that gives them. */
export async function startGoogle(): Promise<LocalGoogle> {
  const account = newKeyPair()
  const issuer = newKeyPair()
  const framework = await startChild(['google.js'], /^(\d+)\n/)
  let given = 0
  const tokenServer = await listen(async (request, response) => {
    const form = new URLSearchParams(await text(request))
    const claims = readToken(form.get('assertion') ?? '', account.publicKey)
    response.setHeader('content-type', 'application/json')
    if (claims?.iss !== EMAIL || claims.aud !== GOOGLE_TOKEN_URL || claims.target_audience === undefined) {
      response.writeHead(400)
      response.end('{"error":"invalid_grant","error_description":"Invalid JWT Signature."}')
      return
    }
    const iat = Math.floor(Date.now() / 1_000)
    const id = { iss: 'https://accounts.google.com', sub: EMAIL, aud: claims.target_audience, iat, exp: iat + HOUR }
    response.end(JSON.stringify({ id_token: signToken({ ...id, jti: ++given }, issuer.privateKey) }))
  })
  const front = await listen(({ url, method, headers }, response) => {
    const claims = readToken((headers.authorization ?? '').replace(/^Bearer /, ''), issuer.publicKey)
    if (url?.startsWith('/open') !== true && claims?.aud !== `http://${headers.host}`) {
      response.writeHead(401)
      response.end('Unauthorized')
      return
    }
    const onward = forward({ host: '127.0.0.1', port: framework.found, path: url, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    onward.once('error', () => response.destroy())
    response.once('close', () => onward.destroy())
    response.req.pipe(onward)
  })
  return {
    url: front.url,
    activeRequests: () => front.activeRequests(),
    key: JSON.stringify({
      type: 'service_account',
      client_email: EMAIL,
      private_key: account.privateKey,
      token_uri: `${tokenServer.url}/token`,
    }),
    async stop() {
      for (const server of [front, tokenServer, framework]) await server.stop()
    },
  }
}

function newKeyPair() {
  return generateKeyPairSync('rsa', {
    modulusLength: 2_048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
}

function signToken(claims: Record<string, unknown>, key: string): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode(claims)}`
  return `${signed}.${createSign('RSA-SHA256').update(signed).sign(key, 'base64url')}`
}

/** The claims of a token that the key signed and that is not over, or null. */
function readToken(token: string, key: string): z.output<typeof claimsSchema> | null {
  const [head = '', body = '', signature = ''] = token.split('.')
  if (!createVerify('RSA-SHA256').update(`${head}.${body}`).verify(key, signature, 'base64url')) return null
  const claims = claimsSchema.parse(JSON.parse(Buffer.from(body, 'base64url').toString('utf8')))
  return claims.exp * 1_000 > Date.now() ? claims : null
}
