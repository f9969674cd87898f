import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { jobResultSchema } from '@ergon/contract'
import pg from 'pg'
import { homePaths } from '../../src/config/home-paths.ts'
import { loadSettings } from '../../src/config/load-settings.ts'

export const CLI: string = path.join(import.meta.dirname, '../../dist/cli/main.js')

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** A data folder of its own, with the environments that set-up built, and the built command line on it. */
export class ErgonHome {
  /** Short, for the sockets in it. */
  readonly folder = mkdtempSync(path.join(tmpdir(), 'ergon-e2e-'))
  readonly env: Record<string, string>
  readonly #cli: string
  readonly #children: ChildProcess[] = []
  #clients: pg.Client[] = []

  constructor(extra: Record<string, string> = {}, cli = CLI) {
    this.#cli = cli
    chmodSync(this.folder, 0o711)
    const { settings } = loadSettings(process.env)
    this.env = {
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      ERGON_HOME: this.folder,
      ERGON_CACHE: settings.cache,
      ERGON_ENVIRONMENTS: settings.environments,
      // As bin/ergon sets it.
      NODE_COMPILE_CACHE: path.join(settings.cache, 'compiled'),
      // Tests that want one say where.
      ERGON_API_LISTEN: 'none',
      ...extra,
    }
  }

  get paths() {
    return homePaths({ home: this.folder, environments: this.env['ERGON_ENVIRONMENTS'] ?? '' })
  }

  /** Runs a command to its end. */
  async run(...args: string[]): Promise<Ended> {
    const child = this.spawn(args)
    const output = { stdout: '', stderr: '' }
    child.stdout?.on('data', (chunk: Buffer) => (output.stdout += chunk.toString('utf8')))
    child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString('utf8')))
    await once(child, 'close')
    return { code: child.exitCode, ...output }
  }

  /** Runs `ergon run` on a program given as text and reads the envelope it prints. */
  async runProgram(program: string, ...options: string[]) {
    const file = path.join(mkdtempSync(path.join(this.folder, 'program-')), 'program.py')
    writeFileSync(file, program)
    const { code, stdout, stderr } = await this.run('run', file, '--json', ...options)
    const parsed = jobResultSchema.safeParse(JSON.parse(stdout || 'null'))
    if (parsed.success) return { code, result: parsed.data }
    throw new Error(`no result envelope but ${stdout}${stderr}`)
  }

  spawn(args: string[], env: Record<string, string> = {}): ChildProcess {
    const child = spawn(process.execPath, [this.#cli, ...args], {
      env: { ...this.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#children.push(child)
    return child
  }

  /** Starts `ergon dev` or `ergon worker` and waits for its line of JSON. */
  start(...args: string[]): Promise<{ child: ChildProcess; line: unknown }> {
    return this.startWith({}, ...args)
  }

  async startWith(env: Record<string, string>, ...args: string[]): Promise<{ child: ChildProcess; line: unknown }> {
    const child = this.spawn([...args, '--json'], env)
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-4000)))
    const lines = createInterface({ input: child.stdout ?? process.stdin })
    const ended = once(child, 'exit').then(([code]) =>
      Promise.reject(new Error(`${args.join(' ')} ended with ${String(code)}: ${said}`)),
    )
    const [text] = await Promise.race([once(lines, 'line'), ended])
    ended.catch(() => {})
    return { child, line: JSON.parse(String(text)) }
  }

  async connect(url: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    this.#clients.push(client)
    return client
  }

  file(name: string, text: string): string {
    const file = path.join(this.folder, name)
    writeFileSync(file, text)
    return file
  }

  /** Ends what is still running, and the folder. */
  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async stop(): Promise<void> {
    for (const client of this.#clients.splice(0)) await client.end().catch(() => {})
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
  }
}

/** The URL in the line that `ergon dev --json` prints. */
export function databaseUrlOf(line: unknown): string {
  if (typeof line === 'object' && line !== null && 'databaseUrl' in line) return String(line.databaseUrl)
  throw new Error(`no databaseUrl in ${JSON.stringify(line)}`)
}
