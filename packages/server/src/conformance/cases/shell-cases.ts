import { all, leftNothing, printed } from '../checks.ts'
import type { Check, HostileCase, ServiceCall } from '../hostile-case.ts'
import { VARIABLES } from './isolation-cases.ts'

const SUCCEEDS = { verdicts: ['SUCCEEDED'], counter: null }
const FILE = '/workspace/input/x'
/** Texts that a shell, its options, or the command line of a runtime would make something of. */
const LITERALS: Readonly<Record<string, readonly string[]>> = {
  'arguments with ; | & and redirections': ['; id', '| id', '&& id', '|| id', '& id', '> /tmp/x', '< /etc/passwd'],
  'arguments with $() and backquotes': ['$(id)', '`id`', '${IFS}', '$PATH', '$((1+1))', '*', '~', '{a,b}', '!!'],
  'arguments with quotes and backslashes': ["'", '"', '\\', "'; id; '", '"; id; "', '\\$(id)', '', ' '],
  'arguments with line breaks': ['a\nid', '\n', 'a\r\nid', '\t', '\u2028'],
  'arguments that look like options': ['--', '-', '--help', '-c', '--version', '--bundle=/', '-e', 'python', '0'],
}

function call(service: string, input: Record<string, unknown>): { row: number; call: ServiceCall } {
  return { row: 50, call: { service, operation: 'run', executionType: 'shell', input } }
}

const startedNothing: Check = ({ resource_usage: usage }) =>
  usage.cpu_ms === null ? null : `it used ${usage.cpu_ms} ms of CPU time`

/** Ends before anything of it has started. */
function refused(name: string, input: Record<string, unknown>, code = 'COMMAND_NOT_ALLOWED'): HostileCase {
  return {
    ...call('hostile-command', { args: ['id'], ...input }),
    name,
    verdicts: [`VALIDATION_ERROR/${code}`],
    counter: null,
    check: all(leftNothing, startedNothing),
  }
}

function script(name: string, text: string, check: Check, more: Record<string, unknown> = {}): HostileCase {
  return { ...call('hostile-script', { shell: true, script: text, ...more }), name, ...SUCCEEDS, check }
}

/** Each argument between marks, as printf sees it. */
function marked(args: readonly string[]): string {
  return args.map((arg) => `<${arg}>`).join('')
}

const onlyOwnVariables: Check = ({ outputs: { stdout } }) => {
  const names = (stdout ?? '')
    .trimEnd()
    .split('\n')
    .map((line) => line.split('=', 1)[0] ?? '')
  const others = names.filter((name) => !VARIABLES.test(name))
  return others.length === 0 ? null : `it has the variables ${others.join(', ')}`
}

/** Row 50, and what it adds to row 47: what the caller of a shell service may try. */
export const SHELL_CASES: readonly HostileCase[] = [
  ...Object.entries(LITERALS).flatMap(([name, args]): HostileCase[] => [
    {
      ...call('hostile-command', { command: '/usr/bin/printf', args: ['<%s>', ...args] }),
      name: `${name}, of a command`,
      ...SUCCEEDS,
      check: printed(marked(args)),
    },
    script(`${name}, of a script`, 'printf "<%s>" "$@"', printed(marked(args)), { args }),
  ]),
  refused('a command that is not allowed', { command: '/bin/bash', args: ['-c', 'id'] }),
  refused('../ in a command', { command: '/usr/bin/../bin/printf' }),
  refused('a command that is looked for in PATH', { command: 'printf' }),
  refused('a command with a line break', { command: '/usr/bin/printf\n/bin/bash' }),
  refused('a link to another command', { command: '/usr/bin/awk' }),
  refused("a command of the caller's own", { command: FILE, files: [{ name: 'x', text: '#!/bin/sh\nid' }] }),
  refused('a script where the shell is not allowed', { shell: true, script: 'id' }),
  refused('a command and a shell', { command: '/usr/bin/printf', shell: true }, 'INPUT_INVALID'),
  ...['LD_PRELOAD', 'BASH_ENV', 'PATH'].map((variable) =>
    refused(
      `${variable} in the environment`,
      { command: '/usr/bin/printf', environment: { [variable]: FILE } },
      'INPUT_INVALID',
    ),
  ),
  refused(
    'a file outside its folder',
    { command: '/usr/bin/printf', files: [{ name: '../code/script', text: 'id' }] },
    'INPUT_NAME_INVALID',
  ),
  refused(
    'a folder of another process',
    { command: '/usr/bin/printf', working_directory: '/proc/1/cwd' },
    'WORKING_DIRECTORY_NOT_ALLOWED',
  ),
  {
    ...call('hostile-command', { command: '/usr/bin/printenv' }),
    name: 'dump the environment of a command',
    ...SUCCEEDS,
    check: onlyOwnVariables,
  },
  script(
    'programs of the caller in place of those in PATH',
    'cp /workspace/input/ls /tmp/ls; chmod +x /tmp/ls; cd /tmp; ls / >/dev/null; echo "$PATH"',
    printed('/usr/bin:/bin\n'),
    { files: [{ name: 'ls', text: '#!/bin/sh\necho mine >&2; exec /bin/echo mine' }] },
  ),
  {
    ...call('hostile-script', { shell: true, script: 'exec 3<>/dev/tcp/127.0.0.1/80' }),
    row: 47,
    name: 'a command without network towards its own loopback',
    verdicts: ['SANDBOX_VIOLATION/NETWORK_DENIED'],
    counter: 'network_attempts',
  },
  {
    ...call('hostile-script', { shell: true, script: 'echo x >/workspace/output/x.txt' }),
    name: 'write to a workspace that is read-only',
    verdicts: ['USER_CODE_ERROR/NON_ZERO_EXIT'],
    counter: null,
    check: leftNothing,
  },
]
