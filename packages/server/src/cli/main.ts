#!/usr/bin/env node
import { writeSync } from 'node:fs'

const MIN_NODE_MAJOR = 24
/** What a shell shows for a program that the signal SIGPIPE ended. */
const SIGPIPE_EXIT_CODE = 141

// Before any other import: modules of this program may not even parse on an older Node.
if (Number(process.versions.node.split('.')[0]) < MIN_NODE_MAJOR) {
  process.stderr.write(
    `ergon: this is Node ${process.versions.node}; Ergon needs Node ${MIN_NODE_MAJOR} or newer (bin/ergon of a checkout brings its own)\n`,
  )
  process.exit(3)
}

// Whoever reads may stop early (`ergon jobs list | head`), and a file may not take all: without a listener both end in a stack trace.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(SIGPIPE_EXIT_CODE)
    try {
      writeSync(2, `ergon: standard output cannot be written: ${error.message}\n       (FILE_UNWRITABLE)\n`)
    } catch {
      // Standard error is what cannot be written.
    }
    process.exit(2)
  })
}

const { CommanderError } = await import('commander')
const { createProgram } = await import('./program.ts')
const { reportError } = await import('./report-error.ts')

try {
  await createProgram().parseAsync(process.argv)
} catch (error) {
  if (error instanceof CommanderError && error.exitCode === 0) process.exit(0)
  process.exitCode = reportError(error, process.argv.includes('--json'))
}
