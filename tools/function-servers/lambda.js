/** Functions of tests, which a local Lambda runs. */
const { appendFileSync } = require('node:fs')
const { setTimeout: sleep } = require('node:timers/promises')

exports.echo = async (event, context) => ({ event, custom: context.clientContext?.custom ?? null })

exports.add = async ({ a, b }) => a + b

exports.fail = async ({ words }) => {
  throw new TypeError(words ?? 'as asked')
}

/** Says in a file that it is at work, then works for half a minute. */
exports.slow = async ({ file }) => {
  if (file !== undefined) appendFileSync(file, 'in the middle\n')
  await sleep(30_000)
  return 'late'
}

exports.flood = async () => 'x'.repeat(8 * 1_024 * 1_024)

/** Leaves a trace of a run that nobody waits for. */
exports.note = async ({ file, words }) => {
  appendFileSync(file, `${words}\n`)
}

exports.impatient = async () => sleep(30_000)
