import pino, { type Logger } from 'pino'

export type { Logger }

/** One JSON object a line on standard error, so that standard output stays the command's own. */
export function createLogger(name: string, level: string): Logger {
  return pino({ name, level, base: { pid: process.pid } }, pino.destination({ fd: 2, sync: true }))
}
