import { closeSync, openSync } from 'node:fs'

/**
 * Calls `reload` at each SIGHUP, the signal that asks daemons to read their configuration again, and `stop` at the one
 * that the kernel sends to a program whose terminal was closed.
 */
export function onHangUp({ reload, stop }: { reload(): void; stop(): void }): void {
  const hadTerminal = hasTerminal()
  process.on('SIGHUP', () => (hadTerminal && !hasTerminal() ? stop() : reload()))
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}
