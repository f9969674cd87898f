#!/usr/bin/env node
const MIN_NODE_MAJOR = 24

// Before any other import: modules of this program may not even parse on an older Node.
if (Number(process.versions.node.split('.')[0]) < MIN_NODE_MAJOR) {
  process.stderr.write(
    `ergon: this is Node ${process.versions.node}; Ergon needs Node ${MIN_NODE_MAJOR} or newer (bin/ergon of a checkout brings its own)\n`,
  )
  process.exit(3)
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
