import { readdirSync, readFileSync } from 'node:fs'

/** The processes of one sandboxd, found by the socket they serve: its outer process, the accept loop and the handlers. */
export function sandboxdProcesses(socketPath: string): number[] {
  return processIds().filter((pid) => read(pid, 'cmdline').includes(`--socket\u0000${socketPath}\u0000`))
}

/** MiB of memory that a process holds now. Throws when it is gone. */
export function residentMb(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(read(pid, 'status'))?.[1]
  if (kilobytes === undefined) throw new Error(`process ${pid} is gone`)
  return Number(kilobytes) / 1024
}

/** Milliseconds of CPU time that a process has used in all, threads included. */
export function cpuTimeMs(pid: number): number {
  const ticks = read(pid, 'stat').split(') ').at(-1)?.split(' ') ?? []
  // utime and stime, in ticks of 10 ms.
  return 10 * (Number(ticks[11]) + Number(ticks[12]))
}

export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** How many file systems a process sees. */
export function mounts(pid: number): number {
  return read(pid, 'mountinfo').trimEnd().split('\n').length
}

/** Dead processes that one of the given ones has not collected. */
export function zombiesOf(parents: readonly number[]): number {
  return processIds().filter((pid) => {
    const [, state, parent] = /\) (\S) (\d+)/.exec(read(pid, 'stat')) ?? []
    return state === 'Z' && parents.includes(Number(parent))
  }).length
}

function processIds(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

/** Empty for a process that has gone in the meantime. */
function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}
