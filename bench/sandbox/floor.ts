import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'

/** What a sandbox is compared with, measured by a process that stays, so that each run can follow one of sandboxd's. */
export interface Floor {
  /** Milliseconds of one `crun run` of the same bundle, with a cgroup leaf and a compiled seccomp profile made before. */
  crun(): Promise<number>
  /** Seconds for so many `python3 -c pass`, so many at once, in the environment but without a sandbox. */
  bare(runs: number, atOnce: number): Promise<number>
  /** Milliseconds of one fork into all namespaces of an interpreter with the environment's libraries, to its first instruction. */
  fork(): Promise<number>
  /** Seconds for so many such forks, so many at once. */
  forks(runs: number, atOnce: number): Promise<number>
  /** Milliseconds of the first savefig in such a fork, of a process that has drawn nothing. */
  savefig(): Promise<number>
  close(): Promise<void>
}

/** Starts floor.py, which makes the bundle that sandboxd would make for this `run` message. Throws when it cannot. */
export function startFloor(environments: string, runMessage: Record<string, unknown>): Floor {
  const script = path.join(import.meta.dirname, 'floor.py')
  const child = spawn('/usr/bin/python3', ['-I', '-B', script, environments, JSON.stringify(runMessage)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ask = async (command: string): Promise<number> => {
    child.stdin.write(`${command}\n`)
    const answer = await answers.next()
    if (answer.done === true) throw new Error(`bench/sandbox/floor.py ended instead of answering "${command}"`)
    return Number(answer.value)
  }
  return {
    crun: () => ask('crun'),
    bare: (runs, atOnce) => ask(`bare ${runs} ${atOnce}`),
    fork: () => ask('fork'),
    forks: (runs, atOnce) => ask(`forks ${runs} ${atOnce}`),
    savefig: () => ask('savefig'),
    close: async () => {
      child.stdin.end()
      if (child.exitCode === null) await once(child, 'exit')
    },
  }
}
