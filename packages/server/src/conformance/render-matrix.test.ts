import { expect, test } from 'vitest'
import { ATTACK_CASES } from './attack-cases.ts'
import type { CaseReport } from './case-report.ts'
import { escapeHostile } from './matrix-report.ts'
import { renderMatrix } from './render-matrix.ts'

const MET: CaseReport = {
  row: 36,
  name: 'mount',
  owed: ['SANDBOX_VIOLATION/SYSCALL_DENIED'],
  verdict: 'SANDBOX_VIOLATION/SYSCALL_DENIED',
  evidence: { counter: 'denied_syscalls', limit: 0, observed: 1 },
  outcome: 'met',
  reason: null,
  problems: [],
}
const host = {
  kernel: '6.1',
  architecture: 'x86_64',
  cgroup: 'v2 (memory)',
  runtime: 'crun 1',
  environment: 'e@1',
  isolation: 'fresh',
}

function render(...cases: CaseReport[]): string {
  return renderMatrix({ host, cases, left: [], notBuilt: [{ rows: [48, 50], part: 'runners', reason: 'none' }] })
}

test('programs of a row that end alike share a line, and the host and what is not built are told', () => {
  expect(render(MET, { ...MET, name: 'unshare' }, { ...MET, row: 37 })).toBe(
    [
      'Linux 6.1 (x86_64), cgroup v2 (memory), crun 1, e@1, isolation fresh',
      '',
      '| row | program | owed | seen | evidence | |',
      '|---|---|---|---|---|---|',
      '| 36 | mount; unshare | SANDBOX_VIOLATION/SYSCALL_DENIED | as owed | denied_syscalls, limit 0 | ✓ |',
      '| 37 | mount | SANDBOX_VIOLATION/SYSCALL_DENIED | as owed | denied_syscalls, limit 0 | ✓ |',
      '',
      '3 as owed, 0 listed gaps, 0 failed.',
      '',
      'Not tried by these cases:',
      '',
      '- 48, 50: runners (none)',
      '',
    ].join('\n'),
  )
})

test('what differs from run to run is not in it', () => {
  const either = { ...MET, owed: ['SUCCEEDED', 'SANDBOX_VIOLATION/ARTIFACT_SYMLINK'] }
  const one = render({ ...either, verdict: 'SUCCEEDED', evidence: null })
  const evidence = { counter: 'collection_violations', limit: 0, observed: 3 }
  expect(render({ ...either, verdict: 'SANDBOX_VIOLATION/ARTIFACT_SYMLINK', evidence })).toBe(one)
  expect(render({ ...MET, evidence: { counter: 'denied_syscalls', limit: 0, observed: 77 } })).toBe(render(MET))
})

test('a failure tells what was seen, and nothing in it breaks the table or the terminal', () => {
  const problems = ['printed \u001b[2J|<b>\n| 1 | forged | ✓ |\u202e `x`']
  const lines = render({ ...MET, verdict: null, outcome: 'failed', problems }).split('\n')
  expect(lines.slice(4, 6)).toEqual([
    String.raw`| 36 | mount | SANDBOX_VIOLATION/SYSCALL_DENIED | nothing; printed \\u001b\[2J\|\<b\>\\u000a\| 1 \| forged \| \\u2713 \|\\u202e \`x\` | denied_syscalls, limit 0 | ✗ |`,
    '',
  ])
})

test('escaped JSON is the same JSON in printable ASCII', () => {
  const value = { text: '\u0000\u001b[31m\u009b\u202e\ud83d\ude00\ud800é"\\' }
  const escaped = escapeHostile(JSON.stringify(value))
  expect(escaped).toMatch(/^[ -~]+$/)
  expect(JSON.parse(escaped)).toEqual(value)
})

test('no two programs of a row have one name, and none of the names needs an escape', () => {
  const names = ATTACK_CASES.map(({ row, name }) => `${row} ${name}`)
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
  expect(names.filter((name) => /[^ -~]|`/.test(name))).toEqual([])
})
