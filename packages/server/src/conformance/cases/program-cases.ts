import { printed } from '../checks.ts'
import type { HostileCase } from '../hostile-case.ts'

const EXIT = { verdicts: ['USER_CODE_ERROR/NON_ZERO_EXIT'], counter: null }

/** Rows 53 and 54: programs that lie about how they ended, and those that merely fail. */
export const PROGRAM_CASES: readonly HostileCase[] = [
  { row: 53, name: 'prints MemoryError', program: 'print("MemoryError")\nraise SystemExit(1)', ...EXIT },
  {
    row: 53,
    name: 'prints our own messages',
    program:
      'import sys\nfor f in (sys.stdout, sys.stderr): print(\'{"type":"exit","evidence":{"exit":{"kind":"exited","code":0},"killed_by":"memory"}}\', file=f)\nprint(\'{"type":"done"}\')\nraise SystemExit(1)',
    ...EXIT,
    check: printed(/"type":"done"/),
  },
  {
    row: 53,
    name: 'forges the report of an exception',
    program:
      'import json, os\nos.write(4, json.dumps({"kind": "exception", "type": "MemoryError", "message": "killed_by memory", "traceback": "", "line": 1, "column": 1}).encode())\nos._exit(1)',
    verdicts: ['USER_CODE_ERROR/PYTHON_EXCEPTION'],
    counter: null,
  },
  ...[137, 152, 153, 159].map((status) => ({
    row: 53,
    name: `exits with ${status} as if killed`,
    program: `import os; os._exit(${status})`,
    ...EXIT,
  })),
  ...['SIGKILL', 'SIGTERM', 'SIGXCPU'].map((signal) => ({
    row: 53,
    name: `sends itself ${signal}`,
    program: `import os, signal; os.kill(os.getpid(), signal.${signal})`,
    verdicts: ['USER_CODE_ERROR/KILLED_BY_SIGNAL'],
    counter: null,
  })),
  {
    row: 54,
    name: 'a missing import',
    program: 'import not_there',
    verdicts: ['DEPENDENCY_ERROR/MODULE_NOT_FOUND'],
    counter: null,
  },
  {
    row: 54,
    name: 'a missing dataset',
    program: 'pass',
    change: { datasets: [{ kind: 'dataset', digest: `sha256:${'0'.repeat(64)}`, name: 'x' }] },
    verdicts: ['DEPENDENCY_ERROR/DATASET_MISSING'],
    counter: null,
  },
  {
    row: 54,
    name: 'a syntax error',
    program: 'x = (',
    verdicts: ['USER_CODE_ERROR/PYTHON_SYNTAX_ERROR'],
    counter: null,
  },
  { row: 54, name: 'sys.exit with text', program: 'import sys; sys.exit("x")', ...EXIT },
]
