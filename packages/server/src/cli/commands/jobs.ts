import { JOB_STATUSES } from '@ergon/contract'
import type { Command } from 'commander'
import type { ControlPlane } from '../../app/create-control-plane.ts'
import { OUTPUT_START } from '../../control/read-output.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import { parseNumber } from '../parse-options.ts'
import { printResult } from '../print-result.ts'
import { formatTable } from '../terminal.ts'
import { withDatabase } from '../with-database.ts'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

export function addJobsCommand(program: Command): void {
  const jobs = program.command('jobs').description('list, show and cancel jobs, read their output')

  jobs
    .command('list')
    .description('the newest jobs')
    .option('--status <status>', `only ${JOB_STATUSES.join(', ')}`)
    .option('--limit <n>', 'at most so many', parseNumber('--limit', 1, 1_000), 20)
    .option('--json', 'one JSON array', false)
    .addHelpText('after', '\nExample:\n  ergon jobs list --status failed --limit 5')
    .action(async (options: { status?: string; limit: number; json: boolean }) => {
      const status = checkStatus(options.status)
      const rows = await withDatabase('database', ({ control }) => control.listJobs({ status, limit: options.limit }))
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
    .argument('<id>')
    .option('--json', 'exactly the envelope', false)
    .addHelpText('after', '\nExample:\n  ergon jobs show 0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f --json')
    .action((id: string, options: { json: boolean }) =>
      withDatabase('database', async ({ control }) => {
        const result = await requireJob(control, id)
        if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
        else printResult(result, control)
      }),
    )

  jobs
    .command('cancel')
    .description('cancel a pending or running job; a running one is killed')
    .argument('<id>')
    .option('--json', 'one JSON object', false)
    .addHelpText('after', '\nExample:\n  ergon jobs cancel 0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f')
    .action((id: string, options: { json: boolean }) =>
      withDatabase('database', async ({ control }) => {
        await requireJob(control, id)
        if ((await control.cancelJob(id)) !== 'cancelled')
          throw new ErgonError('JOB_FINISHED', `job ${id} has ended already; \`ergon jobs show ${id}\` shows how`)
        process.stdout.write(
          options.json ? `${JSON.stringify({ job_id: id, status: 'CANCELLED' })}\n` : `job ${id} is cancelled\n`,
        )
      }),
    )

  jobs
    .command('logs')
    .description("what a job's newest attempt wrote to standard output and standard error")
    .argument('<id>')
    .option('--json', 'one JSON object {stdout, stderr}', false)
    .addHelpText('after', '\nExample:\n  ergon jobs logs 0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f')
    .action((id: string, options: { json: boolean }) =>
      withDatabase('database', async ({ control }) => {
        await requireJob(control, id)
        const { chunks } = await control.readOutput(id, OUTPUT_START)
        if (!options.json) {
          for (const chunk of chunks) process[chunk.stream].write(chunk.bytes)
          return
        }
        const text = (stream: string) =>
          Buffer.concat(chunks.filter((chunk) => chunk.stream === stream).map(({ bytes }) => bytes)).toString('utf8')
        process.stdout.write(`${JSON.stringify({ stdout: text('stdout'), stderr: text('stderr') })}\n`)
      }),
    )
}

async function requireJob(control: ControlPlane, id: string) {
  const result = UUID.test(id) ? await control.readJob(id) : null
  if (result === null)
    throw new ErgonError('JOB_NOT_FOUND', `there is no job ${JSON.stringify(id)}; \`ergon jobs list\` shows the newest`)
  return result
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
