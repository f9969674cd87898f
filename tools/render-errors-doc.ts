import { ERROR_CATALOGUE } from '../packages/server/src/platform/errors/error-catalogue.ts'

const EXIT_CODES = [
  '| 0 | done |',
  '| 1 | the job failed: the command worked, the program in the sandbox did not |',
  '| 2 | a wrong call: what was asked for cannot be, and asking again will not help |',
  '| 3 | something outside is missing: the host, the database, a mirror, room on a disk |',
  '| 4 | a fault of Ergon itself |',
  '| 141 | whoever read the output stopped reading, as `head` does |',
]

/** The text of docs/errors.md: every code of the catalogue, by name. A test keeps the file in step. */
export function renderErrorsDoc(): string {
  const rows = Object.entries(ERROR_CATALOGUE)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, entry]) => `| \`${code}\` | ${entry.exitCode} | ${entry.httpStatus} | ${entry.summary} |`)
  return [
    '# Errors',
    '',
    'Every error that a person can meet has a code from one catalogue. A code is never reused for another meaning.',
    'With `--json` a command prints it as `{"error": {"category": …, "code": …, "message": …}}`.',
    'How a *job* failed is told by its failure category and code instead: they are part of its result.',
    '',
    '## Exit codes',
    '',
    '| exit code | meaning |',
    '|---|---|',
    ...EXIT_CODES,
    '',
    '## Codes',
    '',
    '| code | exit code | HTTP | meaning |',
    '|---|---|---|---|',
    ...rows,
    '',
    '<!-- Written by `npm run docs` from packages/server/src/platform/errors/error-catalogue.ts -->',
    '',
  ].join('\n')
}
