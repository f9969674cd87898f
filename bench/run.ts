import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { closestMatch } from '../packages/server/src/platform/text/closest-match.ts'
import type { Benchmark } from './bench.ts'
import { describeMachine } from './machine.ts'
import { toJson, toTable } from './report.ts'

/** The front door of all benchmarks: exit code 0 whenever one ran, targets met or not; 2 for a wrong call. */

const FRAMEWORK = ['bench.ts', 'machine.ts', 'processes.ts', 'report.ts', 'run.ts']
const USAGE = 'bin/bench NAME [--quick] [--jobs N] [--json]'

async function main(argv: string[]): Promise<number> {
  const names = await listBenchmarks()
  let call
  try {
    call = parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        quick: { type: 'boolean' },
        jobs: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error), names)
  }
  if (call.values.help === true) {
    process.stdout.write(`${USAGE}\n\n${await describeAll(names)}`)
    return 0
  }
  const [name, ...rest] = call.positionals
  if (name === undefined || rest.length > 0) return refuse('name one benchmark', names)
  if (!names.includes(name)) {
    const similar = closestMatch(name, names)
    return refuse(
      `there is no benchmark "${name}"${similar === undefined ? '' : `; did you mean "${similar}"?`}`,
      names,
    )
  }

  const jobs = call.values.jobs === undefined ? undefined : Number(call.values.jobs)
  if (jobs !== undefined && !(Number.isSafeInteger(jobs) && jobs > 0))
    return refuse(`--jobs must be a positive whole number, not "${call.values.jobs}"`, names)

  const benchmark = await load(name)
  const figures = await benchmark.run({
    isQuick: call.values.quick === true,
    jobs,
    progress: (text) => process.stderr.write(`• ${text}\n`),
  })
  const machine = await describeMachine()
  process.stdout.write(
    call.values.json === true ? `${JSON.stringify(toJson(machine, figures))}\n` : toTable(machine, figures),
  )
  return 0
}

async function listBenchmarks(): Promise<string[]> {
  const files = await readdir(import.meta.dirname)
  return files
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !FRAMEWORK.includes(file))
    .map((file) => path.basename(file, '.ts'))
    .toSorted()
}

async function load(name: string): Promise<Benchmark> {
  const module = (await import(`./${name}.ts`)) as { default: Benchmark }
  return module.default
}

async function describeAll(names: readonly string[]): Promise<string> {
  const lines = await Promise.all(names.map(async (name) => `  ${name.padEnd(16)}${(await load(name)).description}\n`))
  return lines.join('')
}

function refuse(reason: string, names: readonly string[]): number {
  process.stderr.write(`bench: ${reason}\nusage: ${USAGE}\nbenchmarks: ${names.join(', ') || 'none yet'}\n`)
  return 2
}

process.exitCode = await main(process.argv.slice(2))
