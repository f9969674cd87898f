import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, Option } from 'commander'
import type { JobControl, OutputNews } from '../../control/job-control.ts'
import { OUTPUT_START, type OutputChunk, type OutputPosition, type OutputStream } from '../../control/read-output.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { choosePlace } from '../choose-place.ts'
import { parseNumber } from '../parse-options.ts'
import { JOB_ARGUMENT, jobNotFound, requireJobId } from '../require-job.ts'

const RECONNECT_MS = 1_000
/** How long a database that does not answer is waited for. */
const PATIENCE_MS = 60_000

interface LogsOptions {
  follow: boolean
  stream?: OutputStream
  offset?: number
  attempt?: number
  json: boolean
}

export function addJobsLogsCommand(jobs: Command): void {
  jobs
    .command('logs')
    .description("what a job's newest attempt wrote to standard output and standard error, now or while it runs")
    .argument('<job>', JOB_ARGUMENT)
    .option('--follow', 'go on until the job has ended', false)
    .addOption(new Option('--stream <name>', 'only this one').choices(['stdout', 'stderr']))
    .option(
      '--offset <n>',
      'leave out the first n bytes of --stream',
      parseNumber('--offset', 0, Number.MAX_SAFE_INTEGER),
    )
    .option(
      '--attempt <n>',
      'the attempt that --offset counts in: a newer one is read from its beginning',
      parseNumber('--attempt', 1, 1_000_000),
    )
    .option(
      '--json',
      'one JSON object {attempt, stdout, stderr}; with --follow one line per piece, then {status}',
      false,
    )
    .addHelpText(
      'after',
      '\nOffsets count bytes as they are shown here (control characters made visible), each stream by itself, and stay the same when job, worker or database start again.\n\nExamples:\n  ergon jobs logs 0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f --follow\n  ergon jobs logs order_42_analysis --follow --stream stdout --attempt 1 --offset 8192',
    )
    .action(async (job: string, options: LogsOptions) => {
      if (options.stream === undefined && (options.offset ?? 0) > 0)
        throw new ErgonError(
          'USAGE',
          '--offset counts in one stream: say which with --stream stdout or --stream stderr',
        )
      return (await choosePlace()).use('database', async (control) => {
        const id = await requireJobId(control, job)
        if (options.follow) return follow(control, id, options)
        const { chunks, position } = await read(control, id, await startOf(control, id, options))
        const wanted = chunks.filter(({ stream }) => stream === (options.stream ?? stream))
        if (options.json) process.stdout.write(`${JSON.stringify(toObject(wanted, position))}\n`)
        else for (const chunk of wanted) process[chunk.stream].write(chunk.bytes)
      })
    })
}

/** Without --attempt an offset counts in the newest attempt that has written anything. */
async function startOf(control: JobControl, id: string, options: LogsOptions): Promise<OutputPosition> {
  const { stream, offset = 0 } = options
  if (stream === undefined || offset === 0) return OUTPUT_START
  const attempt = options.attempt ?? (await read(control, id, OUTPUT_START)).position.attempt
  return { ...OUTPUT_START, attempt: Math.max(1, attempt), [stream]: offset }
}

/** A database that starts again, alone or with the whole stack, is waited for: the position is good there too. */
async function follow(control: JobControl, id: string, options: LogsOptions): Promise<void> {
  let position = await startOf(control, id, options)
  let goodUntil = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      let status = ''
      for await (const news of control.followOutput(id, position)) {
        show(news, position, id, options)
        ;({ position, status } = news)
        goodUntil = performance.now() + PATIENCE_MS
      }
      if (options.json) process.stdout.write(`${JSON.stringify({ job_id: id, status })}\n`)
      return
    } catch (error) {
      const isAway = error instanceof ErgonError && error.code === 'DATABASE_UNREACHABLE'
      if (!isAway || performance.now() > goodUntil) throw withResumption(error, id, position)
      await sleep(RECONNECT_MS)
    }
  }
}

function show(news: OutputNews, before: OutputPosition, id: string, options: LogsOptions): void {
  if (before.attempt > 0 && news.position.attempt > before.attempt && !options.json)
    process.stderr.write(`ergon: attempt ${news.position.attempt} of job ${id} begins\n`)
  for (const { attempt, stream, offset, bytes } of news.chunks) {
    if (stream !== (options.stream ?? stream)) continue
    if (options.json)
      process.stdout.write(`${JSON.stringify({ attempt, stream, offset, text: bytes.toString('utf8') })}\n`)
    else process[stream].write(bytes)
  }
}

async function read(control: JobControl, id: string, position: OutputPosition): Promise<OutputNews> {
  const reading = await control.readOutput(id, position)
  if (reading === null) throw jobNotFound(id)
  return reading
}

/** The database went away: whoever follows can go on where this ended. */
function withResumption(error: unknown, id: string, position: OutputPosition): unknown {
  if (!(error instanceof ErgonError)) return error
  const resume = (['stdout', 'stderr'] as const).map(
    (stream) =>
      `\n       ergon jobs logs ${id} --follow --stream ${stream} --attempt ${Math.max(1, position.attempt)} --offset ${position[stream]}`,
  )
  return new ErgonError(error.code, `${error.message}. To go on from here:${resume.join('')}`, { cause: error })
}

function toObject(chunks: readonly OutputChunk[], position: OutputPosition): Record<string, unknown> {
  const text = (stream: OutputStream) =>
    Buffer.concat(chunks.filter((chunk) => chunk.stream === stream).map(({ bytes }) => bytes)).toString('utf8')
  return { attempt: position.attempt, stdout: text('stdout'), stderr: text('stderr') }
}
