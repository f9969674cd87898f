import { FAILURE_CATEGORIES } from '@ergon/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decideOutcome, type Verdict, type VerdictInput } from './decide-outcome.ts'
import { applyPolicy, toSandboxLimits } from './limits.ts'
import { EXECUTOR_POLICY } from './sandbox-policy.ts'
import type { SandboxEvidence } from './sandbox-evidence.ts'

const applied = applyPolicy(
  { timeout_ms: 1000, cpu_ms: 1000, memory_mb: 64, max_output_kb: 1, max_artifacts: 5 },
  EXECUTOR_POLICY,
)
if (!applied.ok) throw new Error(applied.failure.message)
const limits = toSandboxLimits(applied.limits, 100)

const clean: SandboxEvidence = {
  exit: { kind: 'exited', code: 0 },
  killed_by: null,
  counters: {
    wall_ms: 10,
    cpu_ms: 5,
    memory_peak_bytes: 1000,
    oom_kills: 0,
    pids_refused: 0,
    allocation_refused_bytes: 0,
    network_attempts: 0,
    disk_peak_bytes: 0,
    disk_peak_files: 2,
    stdout_bytes: 0,
    stderr_bytes: 0,
  },
  truncated: { stdout: false, stderr: false },
  denied_syscalls: {},
  report: null,
}

function input(
  evidence: Partial<SandboxEvidence> = {},
  counters: Partial<SandboxEvidence['counters']> = {},
): VerdictInput {
  return {
    evidence: {
      ...clean,
      ...evidence,
      counters: { ...clean.counters, ...counters },
    },
    limits,
    violations: [],
    collectionLimits: [],
    resultProblem: null,
  }
}

const FAILED = { exit: { kind: 'exited', code: 1 } } as const

/** A verdict without the program's own words on how it ended. */
function judgementOf(verdict: Verdict): unknown {
  if (verdict.kind !== 'failed') return verdict
  const { category, code, evidence } = verdict.failure
  return { category, code, evidence }
}

function codeOf(value: VerdictInput): string {
  const verdict = decideOutcome(value)
  return verdict.kind === 'failed' ? `${verdict.failure.category}/${verdict.failure.code}` : verdict.kind
}

describe('decideOutcome', () => {
  it.each([
    [input(), 'succeeded'],
    [input({}, { pids_refused: 9 }), 'succeeded'],
    [input({ denied_syscalls: { mount: 2 } }, { network_attempts: 3 }), 'succeeded'],
    [input({}, { allocation_refused_bytes: 2 ** 45 }), 'succeeded'],
    [input(FAILED, { allocation_refused_bytes: 2 ** 45, network_attempts: 1 }), 'RESOURCE_LIMIT/MEMORY'],
    [input(FAILED, { allocation_refused_bytes: 2 ** 45, pids_refused: 1 }), 'RESOURCE_LIMIT/PIDS'],
    [input({ killed_by: 'client', exit: { kind: 'unknown' } }), 'cancelled'],
    [input({ killed_by: 'wall', exit: { kind: 'unknown' } }, { oom_kills: 1 }), 'RESOURCE_LIMIT/WALL_TIME'],
    [input({ killed_by: 'cpu', exit: { kind: 'unknown' } }), 'RESOURCE_LIMIT/CPU_TIME'],
    [input({ killed_by: 'stdout', exit: { kind: 'unknown' } }), 'RESOURCE_LIMIT/OUTPUT'],
    [input({}, { oom_kills: 1 }), 'RESOURCE_LIMIT/MEMORY'],
    [input({ exit: { kind: 'signaled', signal: 24 } }, { cpu_ms: 1000 }), 'RESOURCE_LIMIT/CPU_TIME'],
    [input({ exit: { kind: 'signaled', signal: 24 } }, { cpu_ms: 999 }), 'USER_CODE_ERROR/KILLED_BY_SIGNAL'],
    [input({ exit: { kind: 'signaled', signal: 25 } }), 'RESOURCE_LIMIT/FILE_SIZE'],
    [input({ exit: { kind: 'signaled', signal: 31 } }), 'SANDBOX_VIOLATION/SYSCALL_KILLED'],
    [input({ exit: { kind: 'exited', code: 1 } }, { pids_refused: 1 }), 'RESOURCE_LIMIT/PIDS'],
    [input({ exit: { kind: 'exited', code: 1 } }, { disk_peak_bytes: limits.disk_bytes }), 'RESOURCE_LIMIT/DISK'],
    [input({ exit: { kind: 'exited', code: 1 } }, { disk_peak_files: limits.disk_files }), 'RESOURCE_LIMIT/FILES'],
    [input(FAILED, { network_attempts: 1 }), 'SANDBOX_VIOLATION/NETWORK_DENIED'],
    [input({ ...FAILED, denied_syscalls: { mount: 1 } }), 'SANDBOX_VIOLATION/SYSCALL_DENIED'],
    [input({ ...FAILED, denied_syscalls: { socket: 1 } }, { network_attempts: 1 }), 'SANDBOX_VIOLATION/SYSCALL_DENIED'],
    [input({ ...FAILED, denied_syscalls: { mount: 1 } }, { pids_refused: 1 }), 'RESOURCE_LIMIT/PIDS'],
    [input(FAILED, { network_attempts: 1, disk_peak_files: limits.disk_files }), 'RESOURCE_LIMIT/FILES'],
    [input({ exit: { kind: 'signaled', signal: 6 } }, { network_attempts: 1 }), 'SANDBOX_VIOLATION/NETWORK_DENIED'],
    [input({ exit: { kind: 'unknown' } }, { network_attempts: 1 }), 'INTERNAL_ERROR/SANDBOX_LOST'],
    [
      { ...input(FAILED, { network_attempts: 1 }), violations: [{ path: 'x', code: 'SYMLINK' }] },
      'SANDBOX_VIOLATION/ARTIFACT_SYMLINK',
    ],
    [input({ exit: { kind: 'exited', code: 137 } }), 'USER_CODE_ERROR/NON_ZERO_EXIT'],
    [input({ exit: { kind: 'exited', code: 152 } }), 'USER_CODE_ERROR/NON_ZERO_EXIT'],
    [input({ exit: { kind: 'signaled', signal: 9 } }), 'USER_CODE_ERROR/KILLED_BY_SIGNAL'],
    [input({ exit: { kind: 'unknown' } }), 'INTERNAL_ERROR/SANDBOX_LOST'],
    [{ ...input(), violations: [{ path: 'x', code: 'SYMLINK' }] }, 'SANDBOX_VIOLATION/ARTIFACT_SYMLINK'],
    [
      {
        ...input(),
        collectionLimits: [{ counter: 'artifact_count', limit: 5, observed: 6 }],
      },
      'RESOURCE_LIMIT/ARTIFACT_COUNT',
    ],
    [
      {
        ...input(),
        resultProblem: { code: 'RESULT_NOT_JSON', message: 'NaN' },
      },
      'USER_CODE_ERROR/RESULT_NOT_JSON',
    ],
  ])('case %#: %j', (value, expected) => {
    expect(codeOf(value)).toBe(expected)
  })

  it('names what was refused, how often, and how the program ended', () => {
    const evidence = { ...FAILED, denied_syscalls: { mount: 2, unshare: 1 } }
    const report = { kind: 'exception', type: 'KeyError', message: "'x'", line: 7, column: 1, traceback: 'Traceback …' }
    expect(decideOutcome(input({ ...evidence, report }))).toMatchObject({
      failure: {
        message: expect.stringMatching(/observed 3 \(mount 2, unshare 1\)\. It ended with: KeyError: 'x' \(line 7\)$/),
        evidence: { counter: 'denied_syscalls', limit: 0, observed: 3 },
        details: { line: 7 },
      },
    })
  })

  it('takes line and traceback of an exception from the report', () => {
    const report = {
      kind: 'exception',
      type: 'ValueError',
      message: 'no',
      line: 3,
      column: 1,
      traceback: 'Traceback …',
    }
    const verdict = decideOutcome(input({ exit: { kind: 'exited', code: 1 }, report }))
    expect(verdict).toMatchObject({
      failure: {
        code: 'PYTHON_EXCEPTION',
        message: 'ValueError: no (line 3)',
        details: { line: 3, traceback: 'Traceback …' },
      },
    })
  })

  it.each([
    ['SyntaxError', 'USER_CODE_ERROR/PYTHON_SYNTAX_ERROR'],
    ['ModuleNotFoundError', 'DEPENDENCY_ERROR/MODULE_NOT_FOUND'],
    ['MemoryError', 'USER_CODE_ERROR/PYTHON_EXCEPTION'],
  ])('names a %s', (type, expected) => {
    expect(
      codeOf(
        input({
          exit: { kind: 'exited', code: 1 },
          report: { kind: 'exception', type },
        }),
      ),
    ).toBe(expected)
  })

  const evidence: fc.Arbitrary<SandboxEvidence> = fc.record({
    exit: fc.oneof(
      fc.record({ kind: fc.constant('exited' as const), code: fc.nat(255) }),
      fc.record({
        kind: fc.constant('signaled' as const),
        signal: fc.integer({ min: 1, max: 64 }),
      }),
      fc.record({ kind: fc.constant('unknown' as const) }),
    ),
    killed_by: fc.constantFrom(null, 'wall', 'cpu', 'memory', 'stdout', 'stderr', 'client'),
    counters: fc.record({
      wall_ms: fc.nat(),
      cpu_ms: fc.nat(),
      memory_peak_bytes: fc.nat(),
      oom_kills: fc.nat(2),
      pids_refused: fc.nat(2),
      allocation_refused_bytes: fc.nat(2),
      network_attempts: fc.nat(2),
      disk_peak_bytes: fc.nat(limits.disk_bytes),
      disk_peak_files: fc.nat(limits.disk_files),
      stdout_bytes: fc.nat(),
      stderr_bytes: fc.nat(),
    }),
    truncated: fc.record({ stdout: fc.boolean(), stderr: fc.boolean() }),
    denied_syscalls: fc.dictionary(fc.constantFrom('mount', 'unshare', 'socket'), fc.integer({ min: 1, max: 3 })),
    report: fc.anything(),
  })

  it('decides every combination, and never blames us for a program that has a status', () => {
    fc.assert(
      fc.property(evidence, (seen) => {
        const verdict = decideOutcome({ ...input(), evidence: seen })
        if (verdict.kind !== 'failed') return
        expect(FAILURE_CATEGORIES).toContain(verdict.failure.category)
        if (verdict.failure.category === 'INTERNAL_ERROR') expect(seen.exit.kind).toBe('unknown')
      }),
    )
  })

  it('never lets the untrusted report change a limit, a kill or a success', () => {
    fc.assert(
      fc.property(evidence, fc.anything(), (seen, report) => {
        const before = decideOutcome({
          ...input(),
          evidence: { ...seen, report: null },
        })
        const after = decideOutcome({
          ...input(),
          evidence: { ...seen, report },
        })
        const isUserError = before.kind === 'failed' && before.failure.category === 'USER_CODE_ERROR'
        if (!isUserError) expect(judgementOf(after)).toEqual(judgementOf(before))
      }),
    )
  })

  it('never blames a refusal on a job that succeeded, nor hides one behind a plain failure', () => {
    fc.assert(
      fc.property(evidence, (seen) => {
        const code = codeOf({ ...input(), evidence: seen })
        const isRefused = seen.counters.network_attempts > 0 || Object.keys(seen.denied_syscalls).length > 0
        const hasSucceeded = seen.exit.kind === 'exited' && seen.exit.code === 0
        if (!isRefused || hasSucceeded) expect(code).not.toMatch(/_DENIED$/)
        else expect(code).not.toMatch(/^USER_CODE_ERROR|^DEPENDENCY_ERROR/)
      }),
    )
  })

  it('tells what was wrong with a refused file', () => {
    const detail = '"xyz" is not among the formats this job may leave: csv, png'
    const verdict = decideOutcome({ ...input(), violations: [{ path: 'a.xyz', code: 'FORMAT_NOT_ALLOWED', detail }] })
    expect(verdict).toMatchObject({ failure: { message: `"a.xyz" was refused: ${detail}.` } })
  })
})
