/** The function of tests in Google's own framework, on 127.0.0.1: the framework's command would listen everywhere. Prints its port. */
const { appendFileSync } = require('node:fs')
const { setTimeout: sleep } = require('node:timers/promises')
const functions = require('@google-cloud/functions-framework')
const { getTestServer } = require('@google-cloud/functions-framework/testing')

const ACTIONS = {
  echo: ({ body, path, headers }, response) => response.json({ event: body, path, headers }),
  fail: () => {
    throw new TypeError('as asked')
  },
  /** Says in a file that it is at work, then works for half a minute. */
  slow: async ({ body }, response) => {
    if (body.file !== undefined) appendFileSync(body.file, 'in the middle\n')
    await sleep(30_000)
    response.json('late')
  },
  flood: (_request, response) => response.json('x'.repeat(12 * 1_024 * 1_024)),
  status: ({ body }, response) =>
    response
      .status(body.status)
      .set(body.headers ?? {})
      .send(body.text ?? ''),
  bytes: (_request, response) =>
    response.set('content-type', 'application/octet-stream').send(Buffer.from([0xff, 0xfe, 0x00])),
}
functions.http('run', (request, response) => ACTIONS[request.body.do](request, response))

const server = getTestServer('run')
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
