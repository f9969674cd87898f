import type { Command } from 'commander'
import { parseNumber } from './parse-options.ts'

export interface SlotOptions {
  slots?: number
  sandboxSlots?: number
}

/** The two options every command with a worker has. */
export function addSlotOptions(command: Command): Command {
  return command
    .option('--slots <n>', 'jobs at once (default 32)', parseNumber('--slots', 1, 10_000))
    .option(
      '--sandbox-slots <n>',
      'of these in sandboxes (default: the number of cores)',
      parseNumber('--sandbox-slots', 0, 1_000),
    )
}
