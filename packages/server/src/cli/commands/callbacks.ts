import { CALLBACK_STATES, type CallbackState } from '@ergon/contract'
import type { Command } from 'commander'
import type { CallbackRow } from '../../control/callbacks.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import { makeVisible } from '../../platform/text/sanitise-output.ts'
import { parseNumber } from '../parse-options.ts'
import { formatTable } from '../terminal.ts'
import { withDatabase } from '../with-database.ts'

const MOST_ERROR_CHARACTERS = 100

export function addCallbacksCommand(program: Command): void {
  const callbacks = program
    .command('callbacks')
    .description('callbacks of jobs that have ended: list those that have not run, try one again')

  callbacks
    .command('list')
    .description('callbacks that are owed, the oldest first; one that ran is gone')
    .option('--state <state>', `only ${CALLBACK_STATES.join(', ')}`)
    .option('--limit <n>', 'at most so many', parseNumber('--limit', 1, 1_000), 20)
    .option('--json', 'one JSON array', false)
    .addHelpText('after', '\nExample:\n  ergon callbacks list --state failed')
    .action(async (options: { state?: string; limit: number; json: boolean }) => {
      const state = checkState(options.state)
      const rows = await withDatabase('database', ({ control }) =>
        control.listCallbacks({ state, limit: options.limit }),
      )
      if (options.json) process.stdout.write(`${JSON.stringify(rows)}\n`)
      else if (rows.length === 0) process.stdout.write('no callback is owed\n')
      else process.stdout.write(formatTable([HEADING, ...rows.map(toCells)]))
    })

  callbacks
    .command('retry')
    .description('run a callback as soon as a worker can, with its whole budget of attempts')
    .argument('<number>', 'the number that `ergon callbacks list` shows')
    .option('--json', 'one JSON object', false)
    .addHelpText('after', '\nExample:\n  ergon callbacks retry 7')
    .action(async (number: string, options: { json: boolean }) => {
      const id = checkNumber(number)
      await withDatabase('database', async ({ control }) => {
        const outcome = await control.retryCallback(id)
        if (outcome === 'not_found')
          throw new ErgonError(
            'CALLBACK_NOT_FOUND',
            `no callback ${id} is owed: it ran, or there never was one. \`ergon callbacks list\` shows those that are`,
          )
        if (outcome === 'running')
          throw new ErgonError('CALLBACK_RUNNING', `a worker runs callback ${id} at this moment; look again in a while`)
        process.stdout.write(
          options.json ? `${JSON.stringify({ callback_id: id, state: 'waiting' })}\n` : `callback ${id} is due again\n`,
        )
      })
    })
}

const HEADING = ['NUMBER', 'STATE', 'JOB', 'OUTCOME', 'FUNCTION', 'ATTEMPTS', 'DUE', 'LAST ERROR']

function toCells(row: CallbackRow): string[] {
  const state = row.waits_for === null ? row.state : `${row.state} for ${row.waits_for}`
  return [
    row.callback_id,
    state,
    row.job_id,
    row.outcome,
    makeVisible(row.callback_function ?? ''),
    `${row.attempts}/${row.max_attempts}`,
    row.state === 'failed' ? '' : row.due_at.toISOString(),
    // A function's own words: as hostile as what a job prints.
    makeVisible(row.last_error ?? '')
      .replace(/\s+/g, ' ')
      .slice(0, MOST_ERROR_CHARACTERS),
  ]
}

function checkState(state: string | undefined): CallbackState | null {
  if (state === undefined) return null
  const known = CALLBACK_STATES.find((one) => one === state)
  if (known !== undefined) return known
  const similar = closestMatch(state, CALLBACK_STATES)
  throw new ErgonError(
    'USAGE',
    `--state is ${JSON.stringify(state)}${similar === undefined ? '.' : `; did you mean "${similar}"?`} States: ${CALLBACK_STATES.join(', ')}`,
  )
}

/** As text: the numbers of a large database are beyond what a double holds. */
function checkNumber(text: string): string {
  if (/^[1-9]\d{0,17}$/.test(text)) return text
  throw new ErgonError(
    'USAGE',
    `<number> is ${JSON.stringify(text)}, expected a number as \`ergon callbacks list\` shows it`,
  )
}
