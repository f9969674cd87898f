// The service `words` of registry.yaml, as Cloud Run would run it: an HTTP server. Here it listens on this machine alone:
//   node examples/registry/functions/count-words.mjs
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'

const server = createServer(async (request, response) => {
  response.setHeader('content-type', 'application/json')
  try {
    const { text } = await json(request)
    const words = text.toLowerCase().match(/\p{L}+/gu) ?? []
    response.end(JSON.stringify({ words: words.length, distinct: new Set(words).size }))
  } catch (error) {
    response.writeHead(400).end(JSON.stringify({ error: String(error) }))
  }
})
server.listen(Number(process.env.PORT ?? 8711), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
