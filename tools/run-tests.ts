import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'

/** Runs every check and every test, or those named as arguments, and ends with the line `N passed, N failed`. */

const root = path.join(import.meta.dirname, '..')
const reports = path.join(root, '.setup', 'reports')

interface Count {
  passed: number
  failed: number
  skipped: number
}

interface Step {
  name: string
  argv: string[]
  /** It runs while the others do, and what it says is shown after them: its guests wait more than they compute. */
  isBeside?: true
  /** How many tests a finished step ran; a step without it is itself one test. */
  count?: () => Promise<Count>
}

const bin = (name: string): string => path.join(root, 'node_modules', '.bin', name)

const checks: Step[] = [
  { name: 'format', argv: [bin('biome'), 'format', '--reporter=summary', '.'] },
  { name: 'types', argv: [bin('tsc'), '-b'] },
  { name: 'lint', argv: [bin('oxlint'), '--type-aware', '--deny-warnings'] },
  { name: 'deadcode', argv: [bin('knip')] },
  // Debian's Python by its path: another one earlier on the PATH has other modules.
  { name: 'mypy', argv: ['sh', '-c', 'cd sandboxd && exec /usr/bin/python3 -m mypy'] },
  {
    name: 'flake8',
    argv: ['sh', '-c', 'cd sandboxd && exec /usr/bin/python3 -m flake8 . ../bench'],
  },
]

const pytestReport = path.join(reports, 'pytest.xml')
const sandboxd: Step = {
  name: 'sandboxd',
  argv: ['sh', '-c', `cd sandboxd && exec /usr/bin/python3 -m pytest -q --junitxml=${pytestReport}`],
  count: () => countJunit(pytestReport),
}

/** The same tests on a pure cgroup v2 kernel, as root and as an ordinary user: two guests at once, each ends by its own time-out. */
const guestReports = ['root', 'delegated'].map((who) => path.join(reports, `cgroup-v2-${who}.xml`))
const [asRoot, asUser] = guestReports
const cgroupV2: Step = {
  name: 'cgroup-v2',
  isBeside: true,
  argv: [
    'sh',
    '-c',
    `cd sandboxd/tests || exit
./on_cgroup_v2.sh root ${asRoot} >${asRoot}.log 2>&1 & pid=$!
./on_cgroup_v2.sh delegated ${asUser} >${asUser}.log 2>&1; user=$?
wait $pid; root=$?
cat ${asRoot}.log ${asUser}.log
exit $((root + user))`,
  ],
  count: () => countGuests(guestReports),
}

const sandboxdSteps = [sandboxd, cgroupV2]

const vitestProjects = ['unit', 'architecture', 'integration', 'e2e']

function vitest(projects: readonly string[]): Step {
  const report = path.join(reports, 'vitest.json')
  const chosen = projects.map((project) => `--project=${project}`)
  return {
    name: projects.length === 0 ? 'vitest' : projects.join(' + '),
    argv: [bin('vitest'), 'run', ...chosen, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    count: () => countVitest(report),
  }
}

async function main(names: string[]): Promise<number> {
  const steps = chooseSteps(names)
  await rm(reports, { recursive: true, force: true })
  await mkdir(reports, { recursive: true })
  const beside = steps.filter(({ isBeside }) => isBeside).map((step) => ({ step, running: runStep(step) }))
  const results: StepResult[] = []
  for (const step of steps.filter(({ isBeside }) => !isBeside)) {
    process.stdout.write(`\n── ${step.name}\n`)
    results.push(await runStep(step))
  }
  for (const { step, running } of beside) {
    const result = await running
    process.stdout.write(`\n── ${step.name}\n${await readFile(logOf(step), 'utf8')}`)
    results.push(result)
  }
  const total = sum(results.map(({ count }) => count))
  const lines = results.map(
    ({ step, count, seconds }) =>
      `${count.failed === 0 ? '✓' : '✗'} ${step.name.padEnd(14)} ${describe(count)}, ${seconds.toFixed(1)} s`,
  )
  process.stdout.write(`\n${lines.join('\n')}\n${describe(total)}\n`)
  return total.failed === 0 ? 0 : 1
}

interface StepResult {
  step: Step
  count: Count
  seconds: number
}

async function runStep(step: Step): Promise<StepResult> {
  const startedMs = performance.now()
  const exitCode = await run(step)
  const count = await countStep(step, exitCode)
  return { step, count, seconds: (performance.now() - startedMs) / 1000 }
}

/** Where the words of a step go that runs beside others. */
function logOf({ name }: Step): string {
  return path.join(reports, `${name}.log`)
}

function sum(counts: readonly Count[]): Count {
  const of = (key: keyof Count): number => counts.reduce((total, count) => total + count[key], 0)
  return { passed: of('passed'), failed: of('failed'), skipped: of('skipped') }
}

function chooseSteps(names: readonly string[]): Step[] {
  if (names.length === 0) return [...checks, vitest([]), ...sandboxdSteps]
  const known = [...checks, ...sandboxdSteps]
  const unknown = names.filter((name) => !known.some((step) => step.name === name) && !vitestProjects.includes(name))
  if (unknown.length > 0) {
    const all = [...checks.map((step) => step.name), ...vitestProjects, ...sandboxdSteps.map((step) => step.name)]
    process.stderr.write(`bin/test: nothing is called ${unknown.join(', ')}; there are ${all.join(', ')}\n`)
    process.exit(2)
  }
  const projects = vitestProjects.filter((project) => names.includes(project))
  const chosen = (step: Step): boolean => names.includes(step.name)
  return [...checks.filter(chosen), ...(projects.length > 0 ? [vitest(projects)] : []), ...sandboxdSteps.filter(chosen)]
}

/** A runner that ended badly without naming a failed test, or that ran no test at all, is one failure. */
async function countStep(step: Step, exitCode: number | null): Promise<Count> {
  if (step.count === undefined) return { passed: exitCode === 0 ? 1 : 0, failed: exitCode === 0 ? 0 : 1, skipped: 0 }
  const count = await step.count().catch(() => ({ passed: 0, failed: 0, skipped: 0 }))
  const isWrong = exitCode !== 0 || count.passed + count.failed === 0
  return { ...count, failed: isWrong ? Math.max(1, count.failed) : count.failed }
}

function run(step: Step): Promise<number | null> {
  const searchPath = `${path.dirname(process.execPath)}:${path.join(root, 'node_modules', '.bin')}:${process.env['PATH'] ?? ''}`
  const log = step.isBeside ? openSync(logOf(step), 'w') : null
  const child = spawn(step.argv[0] ?? '', step.argv.slice(1), {
    cwd: root,
    env: { ...process.env, PATH: searchPath },
    stdio: ['ignore', log ?? 'inherit', log ?? 'inherit'],
  })
  if (log !== null) closeSync(log)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
}

async function countVitest(file: string): Promise<Count> {
  const report = JSON.parse(await readFile(file, 'utf8')) as Record<string, number>
  return {
    passed: report['numPassedTests'] ?? 0,
    failed: report['numFailedTests'] ?? 0,
    skipped: (report['numPendingTests'] ?? 0) + (report['numTodoTests'] ?? 0),
  }
}

async function countJunit(file: string): Promise<Count> {
  const suite = /<testsuite [^>]*>/.exec(await readFile(file, 'utf8'))?.[0] ?? ''
  const read = (name: string): number => Number(new RegExp(` ${name}="(\\d+)"`).exec(suite)?.[1] ?? 0)
  const failed = read('failures') + read('errors')
  return { passed: read('tests') - failed - read('skipped'), failed, skipped: read('skipped') }
}

/** A guest that left no report hung or did not start: a failure. */
async function countGuests(files: readonly string[]): Promise<Count> {
  const hung: Count = { passed: 0, failed: 1, skipped: 0 }
  return sum(await Promise.all(files.map((file) => countJunit(file).catch(() => hung))))
}

function describe(count: Count): string {
  const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : ''
  return `${count.passed} passed, ${count.failed} failed${skipped}`
}

process.exitCode = await main(process.argv.slice(2))
