import { JOB_STATUSES } from '@ergon/contract'
import type { Command } from 'commander'
import type { JobWait } from '../../control/explain-wait.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import { choosePlace } from '../choose-place.ts'
import { parseNumber } from '../parse-options.ts'
import { printResult } from '../print-result.ts'
import { JOB_ARGUMENT, jobNotFound, requireJobId } from '../require-job.ts'
import { formatTable } from '../terminal.ts'
import { addJobsLogsCommand } from './jobs-logs.ts'

export function addJobsCommand(program: Command): void {
  const jobs = program.command('jobs').description('list, show, cancel and retry jobs, read their output')

  jobs
    .command('list')
    .description('the newest jobs')
    .option('--status <status>', `only ${JOB_STATUSES.join(', ')}`)
    .option('--limit <n>', 'at most so many', parseNumber('--limit', 1, 1_000), 20)
    .option('--json', 'one JSON array', false)
    .addHelpText('after', '\nExample:\n  ergon jobs list --status failed --limit 5')
    .action(async (options: { status?: string; limit: number; json: boolean }) => {
      const status = checkStatus(options.status)
      const place = await choosePlace()
      const rows = await place.use('database', (control) => control.listJobs({ status, limit: options.limit }))
      if (options.json) process.stdout.write(`${JSON.stringify(rows)}\n`)
      else if (rows.length === 0) process.stdout.write('no jobs yet; `ergon run FILE` makes one\n')
      else {
        const heading = ['ID', 'STATUS', 'SERVICE', 'OPERATION', 'ATTEMPTS', 'FAILURE', 'CREATED']
        const cells = rows.map((row) => [
          row.id,
          row.status,
          row.service_name,
          row.operation,
          String(row.attempts ?? 0),
          row.failure_code ?? '',
          row.created_at?.toISOString() ?? '',
        ])
        process.stdout.write(formatTable([heading, ...cells]))
      }
    })

  jobs
    .command('show')
    .description('the result envelope of a job')
    .argument('<job>', JOB_ARGUMENT)
    .option('--json', 'exactly the envelope', false)
    .addHelpText(
      'after',
      '\nExamples:\n  ergon jobs show 0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f --json\n  ergon jobs show order_42_analysis',
    )
    .action(async (job: string, options: { json: boolean }) =>
      (await choosePlace()).use('database', async (control) => {
        const result = await control.readJob(await requireJobId(control, job))
        if (result === null) throw jobNotFound(job)
        if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
        else {
          printResult(result, control)
          const wait = await control.explainWait(result.job_id)
          if (wait !== null) process.stdout.write(describeWait(wait))
        }
      }),
    )

  jobs
    .command('cancel')
    .description('cancel a pending or running job; a running one is killed')
    .argument('<job>', JOB_ARGUMENT)
    .option('--json', 'one JSON object', false)
    .addHelpText('after', '\nExample:\n  ergon jobs cancel 0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f')
    .action(async (job: string, options: { json: boolean }) =>
      (await choosePlace()).use('database', async (control) => {
        const id = await requireJobId(control, job)
        if ((await control.cancelJob(id)) !== 'cancelled')
          throw new ErgonError('JOB_FINISHED', `job ${id} has ended already; \`ergon jobs show ${id}\` shows how`)
        process.stdout.write(
          options.json ? `${JSON.stringify({ job_id: id, status: 'CANCELLED' })}\n` : `job ${id} is cancelled\n`,
        )
      }),
    )

  jobs
    .command('retry')
    .description('queue a failed job again, with at least one more attempt')
    .argument('<job>', JOB_ARGUMENT)
    .option('--json', 'one JSON object', false)
    .addHelpText('after', '\nExample:\n  ergon jobs retry 0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f')
    .action(async (job: string, options: { json: boolean }) =>
      (await choosePlace()).use('database', async (control) => {
        const id = await requireJobId(control, job)
        const outcome = await control.retryJob(id)
        if (outcome === 'not_found') throw jobNotFound(job)
        if (outcome === 'not_failed')
          throw new ErgonError(
            'ILLEGAL_TRANSITION',
            `job ${id} has not failed; only a failed one can be queued again. \`ergon jobs show ${id}\` shows how it is`,
          )
        process.stdout.write(
          options.json ? `${JSON.stringify({ job_id: id, status: 'QUEUED' })}\n` : `job ${id} is queued again\n`,
        )
      }),
    )

  addJobsLogsCommand(jobs)
}

function describeWait({ state, lane, gate, reason, until }: JobWait): string {
  const place = gate === null ? `${state} on lane ${lane}` : `behind the gate ${gate}`
  const end = until === null ? '' : ` (until ${until.toISOString()})`
  return `waits        ${place}: ${reason}${end}\n\n`
}

function checkStatus(status: string | undefined): string | null {
  if (status === undefined) return null
  if ((JOB_STATUSES as readonly string[]).includes(status)) return status
  const similar = closestMatch(status, JOB_STATUSES)
  throw new ErgonError(
    'USAGE',
    `--status is ${JSON.stringify(status)}${similar === undefined ? '.' : `; did you mean "${similar}"?`} Statuses: ${JOB_STATUSES.join(', ')}`,
  )
}
