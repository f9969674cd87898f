// The payment service of the example, on this machine alone: POST /charges takes money once for each Idempotency-Key,
// GET /charges tells what was taken. The first line on standard output is its address; it ends when its standard input does.
import { randomUUID, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const MAX_BODY_BYTES = 16_384
const CREDIT = 10_000
const token = Buffer.from(`Bearer ${process.env.COMMERCE_PAYMENTS_TOKEN ?? ''}`)
const charges = new Map()
let requests = 0

const server = createServer((request, response) => {
  answer(request)
    .catch(() => [400, { error: 'the body is no charge' }])
    .then(([status, body]) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(body))
    })
})

async function answer(request) {
  const given = Buffer.from(request.headers.authorization ?? '')
  if (given.length !== token.length || !timingSafeEqual(given, token)) return [401, { error: 'who are you?' }]
  if (request.url !== '/charges') return [404, { error: 'there is nothing here' }]
  if (request.method === 'GET') return [200, { requests, charges: [...charges.values()] }]
  if (request.method !== 'POST') return [405, { error: 'GET or POST' }]
  const key = request.headers['idempotency-key']
  if (key === undefined) return [400, { error: 'a charge needs an Idempotency-Key' }]
  requests++
  const { amount, currency, reference, customer } = JSON.parse(await readBody(request))
  if (amount > CREDIT) return [402, { error: `the card has no ${amount} ${currency}` }]
  if (!charges.has(key)) charges.set(key, { charge_id: `ch_${randomUUID()}`, amount, currency, reference, customer })
  return [201, charges.get(key)]
}

async function readBody(request) {
  const chunks = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) throw new Error('too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

server.listen(0, '127.0.0.1', () => {
  // It needs nothing of root's.
  if (process.getuid?.() === 0) {
    process.setgroups([])
    process.setgid(65_534)
    process.setuid(65_534)
  }
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })}\n`)
})
process.stdin.on('end', () => process.exit(0)).resume()
