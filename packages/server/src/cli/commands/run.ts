import { randomUUID } from 'node:crypto'
import { access, constants, readFile } from 'node:fs/promises'
import path from 'node:path'
import { ARTIFACT_FORMATS, type Isolation, ISOLATIONS, type JobPayloadInput, SCHEMA_VERSION } from '@ergon/contract'
import { type Command, Option } from 'commander'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import { choosePlace } from '../choose-place.ts'
import { followJob } from '../follow-job.ts'
import { parseDataset, parseNumber, parseParameter, repeat } from '../parse-options.ts'

const RUNTIMES: Record<string, { extension: string; environment: string }> = {
  python: { extension: '.py', environment: 'python-sci' },
}

interface RunOptions {
  runtime?: string
  env?: string
  param: string[]
  dataset: string[]
  timeout: number
  memory: number
  isolation: Isolation
  seed: 'execution_key' | 'entropy'
  json: boolean
}

export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('run a program in a sandbox, follow it, and show its result')
    .argument('<file>', 'the program')
    .option(
      '--runtime <name>',
      `the language (${Object.keys(RUNTIMES).join(', ')}); by default from the file's extension`,
    )
    .option('--env <name>', 'the environment, NAME or NAME@DIGEST')
    .option('--param <name=json>', 'a parameter for the program, repeatable', repeat, [])
    .option('--dataset <name=file>', 'a file the program finds in its input folder, repeatable', repeat, [])
    .option('--timeout <seconds>', 'wall-clock and CPU limit', parseNumber('--timeout', 0.1, 3_600, false), 30)
    .option('--memory <MB>', 'memory limit', parseNumber('--memory', 32, 8_192), 512)
    .addOption(
      new Option(
        '--isolation <mode>',
        'warm: a child of a warm template where one is ready; fresh: a container of its own',
      )
        .choices([...ISOLATIONS])
        .default('warm'),
    )
    .addOption(
      new Option('--seed <source>', 'what random numbers are derived from')
        .choices(['execution_key', 'entropy'])
        .default('execution_key'),
    )
    .option('--json', 'print exactly the result envelope', false)
    .addHelpText(
      'after',
      '\nExamples:\n  ergon run hello.py\n  ergon run fit.py --param degree=3 --dataset data.csv=./measured.csv --timeout 60\n\nExit status: 0 succeeded, 1 the job failed, 2 a wrong call, 3 something outside is missing.',
    )
    .action(async (file: string, options: RunOptions) => {
      const { language, environment } = chooseRuntime(file, options)
      const code = await readProgram(file)
      const parameters = Object.fromEntries(options.param.map(parseParameter))
      const datasets = options.dataset.map(parseDataset)
      // What can be wrong with the call is told before a stack is started for it.
      for (const dataset of datasets) await requireReadable(dataset.file)
      const place = await choosePlace()
      const envVersion = await place.resolveEnvironment(environment)
      const result = await place.use('worker', async (control) => {
        const dependencies = []
        for (const { name, file: source } of datasets) {
          dependencies.push({
            kind: 'dataset' as const,
            name,
            digest: await control.uploadDataset(source, null),
          })
        }
        const payload = composePayload({
          code,
          language,
          entrypoint: safeEntrypoint(file),
          parameters,
          dependencies,
          envVersion,
          options,
        })
        const id = await control.submitPayload(payload)
        return followJob(control, id, options.json)
      })
      process.exitCode = result.status === 'SUCCEEDED' ? 0 : 1
    })
}

async function requireReadable(file: string): Promise<void> {
  await access(file, constants.R_OK).catch((error: unknown) => {
    throw unreadable(file, error)
  })
}

function unreadable(file: string, error: unknown): ErgonError {
  return new ErgonError(
    'FILE_UNREADABLE',
    `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
  )
}

async function readProgram(file: string): Promise<string> {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw unreadable(file, error)
  })
  const text = bytes.toString('utf8')
  if (!Buffer.from(text, 'utf8').equals(bytes) || text.includes('\u0000')) {
    throw new ErgonError('FILE_UNREADABLE', `${file} is not UTF-8 text without NUL; a program must be`)
  }
  return text
}

function chooseRuntime(file: string, options: RunOptions): { language: string; environment: string } {
  const names = Object.keys(RUNTIMES)
  const language = options.runtime ?? names.find((name) => RUNTIMES[name]?.extension === path.extname(file))
  const runtime = language === undefined ? undefined : RUNTIMES[language]
  if (language !== undefined && runtime !== undefined)
    return { language, environment: options.env ?? runtime.environment }
  if (options.runtime === undefined) {
    throw new ErgonError(
      'RUNTIME_UNKNOWN',
      `the runtime of ${file} cannot be told from its name; say --runtime (${names.join(', ')})`,
    )
  }
  const similar = closestMatch(options.runtime, names)
  throw new ErgonError(
    'RUNTIME_UNKNOWN',
    `there is no runtime "${options.runtime}"${similar === undefined ? '.' : `; did you mean "${similar}"?`} Runtimes: ${names.join(', ')}`,
  )
}

/** The file's own name where the sandbox takes it, so that tracebacks show it. */
function safeEntrypoint(file: string): string {
  const name = path.basename(file)
  return /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name) ? name : 'main.py'
}

interface PayloadParts {
  code: string
  language: string
  entrypoint: string
  parameters: Record<string, unknown>
  dependencies: { kind: 'dataset'; name: string; digest: string }[]
  envVersion: string
  options: RunOptions
}

function composePayload(parts: PayloadParts): JobPayloadInput {
  const timeoutMs = Math.round(parts.options.timeout * 1_000)
  return {
    schema_version: SCHEMA_VERSION,
    job_id: randomUUID(),
    job_type: 'object_execute',
    created_at: new Date().toISOString(),
    limits: { timeout_ms: timeoutMs, cpu_ms: timeoutMs, memory_mb: parts.options.memory },
    environment: {
      language: parts.language,
      env_version: parts.envVersion,
      isolation: parts.options.isolation,
      seed: parts.options.seed,
    },
    inputs: {
      object: {
        type: 'code',
        content: { format: 'text', value: parts.code },
        dependencies: parts.dependencies,
        runtime: { language: parts.language, entrypoint: parts.entrypoint, parameters: parts.parameters },
      },
    },
    // A file of a name that nobody knows is more often a mistake than a result.
    output_spec: { formats: Object.keys(ARTIFACT_FORMATS).filter((format) => format !== 'binary') },
  }
}
