import { spawn } from 'node:child_process'

interface ToolResult {
  /** Exit code, or null when a signal ended it. */
  exitCode: number | null
  stdout: string
  /** The last lines of stdout and stderr as they came, at most 40. */
  tail: string[]
}

/**
 * Runs a program of the host to its end. It dies with this process, and so does everything it started: it is PID 1 of a
 * pid namespace that the kernel ends with it, and a chroot that it set up unmounts with its mount namespace.
 */
export async function runContained(
  argv: readonly string[],
  options: { env: Record<string, string>; onLine?: (line: string) => void },
): Promise<ToolResult> {
  return await runTool(
    [
      'setpriv',
      '--pdeathsig',
      'KILL',
      'unshare',
      '--mount',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
      ...argv,
    ],
    options,
  )
}

/** Runs a program of the host to its end with exactly the environment given and umask 022. */
export async function runTool(
  argv: readonly string[],
  options: { env: Record<string, string>; onLine?: (line: string) => void },
): Promise<ToolResult> {
  // The files it makes have the same modes whoever runs it.
  const child = spawn('sh', ['-c', 'umask 022 && exec "$@"', 'sh', ...argv], {
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const tail: string[] = []
  let stdout = ''
  let partial = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    keepLines(text)
  })
  child.stderr.setEncoding('utf8').on('data', keepLines)

  function keepLines(text: string): void {
    const lines = (partial + text).split('\n')
    partial = lines.pop() ?? ''
    for (const line of lines) {
      options.onLine?.(line)
      tail.push(line)
      if (tail.length > 40) tail.shift()
    }
  }

  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exitCode) => {
      if (partial !== '') tail.push(partial)
      resolve({ exitCode, stdout, tail })
    })
  })
}
