import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { TestEngine } from '../../../src/testing/docker-engine.ts'
import { DockerBench, INSTANCE, sh } from './docker-fixture.ts'

let engine: TestEngine
let bench: DockerBench
beforeAll(async () => {
  engine = await TestEngine.start()
  await engine.importBusybox('test/busybox:1')
  bench = new DockerBench(engine)
})
afterAll(async () => {
  bench?.remove()
  await engine?.stop()
})
afterEach(async () => {
  expect(await engine.leftovers()).toEqual([])
})

describe('a job in a container', () => {
  it('gets its input on standard input and as a file, and its exit status and streams come back', async () => {
    const script =
      'cat; echo; cat "$ERGON_INPUT"; echo problem >&2; ls -l "$ERGON_INPUT"; echo "$GREETING $ERGON_ATTEMPT"'
    const ran = await bench.run({
      config: { ...sh(script), environment: { GREETING: 'hello', ERGON_ATTEMPT: '7' } },
      input: { a: [1, 'ü'] },
    })
    expect(ran.stdout.split('\n').slice(0, 2)).toEqual([
      '{"a":[1,"ü"]}',
      '{"a":[1,"ü"]}-r--r--r--    1 0        0               14 Jan  1  1970 /ergon/input/input.json',
    ])
    expect(ran).toMatchObject({ end: 'SUCCEEDED', stderr: 'problem\n', output: { exit_code: 0, stderr: 'problem\n' } })
    expect(ran.stdout).toContain('hello 1\n')
    expect(ran.envVersion).toMatch(/^test\/busybox:1@sha256:[0-9a-f]{64}$/)
    expect(ran.resourceUsage?.duration_seconds).toBeGreaterThan(0)
  })

  it('is confined: no capability, no root, nothing writable but its folders, no network', async () => {
    const script = `id -u; id -g; grep -E 'CapBnd|CapEff|NoNewPrivs|Seccomp:' /proc/self/status
      for place in / /etc /bin /ergon /ergon/input; do touch $place/x 2>/dev/null && echo "wrote $place"; done
      for place in /tmp /workspace; do touch $place/x && echo "may write $place"; done
      ls /sys/class/net; wget -q -T 2 http://8.8.8.8/ && echo reached; ls /run/docker.sock /var/run/docker.sock`
    const { stdout } = await bench.run({ config: sh(script) })
    expect(stdout).toMatch(/^65534\n65534\n/)
    expect(stdout).toMatch(/CapEff:\s0{16}\n/)
    expect(stdout).toMatch(/CapBnd:\s0{16}\n/)
    expect(stdout).toMatch(/NoNewPrivs:\s1\nSeccomp:\s2\n/)
    expect(stdout).not.toContain('wrote')
    expect(stdout).toContain('may write /tmp\nmay write /workspace\nlo\n')
    expect(stdout).not.toMatch(/reached|docker.sock/)
  })

  it('fails with its exit status, also when that looks like a kill', async () => {
    const ran = await Promise.all(
      ['exit 3', 'exit 137', 'kill -9 $$'].map((script) => bench.run({ config: sh(script) })),
    )
    const end = 'USER_CODE_ERROR/NON_ZERO_EXIT'
    expect(ran).toMatchObject([3, 137, 137].map((exit_code) => ({ end, output: { exit_code } })))
  })

  it('is told apart when the kernel ended it for its memory', async () => {
    const ran = await bench.run({ config: sh('tail /dev/zero') })
    expect(ran.end).toBe('RESOURCE_LIMIT/MEMORY')
    expect(ran.verdict).toMatchObject({
      failure: { evidence: { counter: 'memory_bytes', limit: 64 * 1024 * 1024 } },
    })
  })

  it('is ended at its time, its CPU time and its output', async () => {
    const kilobytes = { resource_limits: { max_output_kb: 16 } }
    const [late, spin, flood, problem] = await Promise.all([
      bench.run({ config: sh('sleep 60'), job: { timeoutSeconds: 3 } }),
      bench.run({
        config: sh('while :; do :; done'),
        policy: { resource_limits: { memory_mb: 64, cpu_seconds: 0.5 } },
      }),
      bench.run({ config: sh('yes'), policy: kilobytes }),
      bench.run({ config: sh('yes >&2'), policy: kilobytes }),
    ])
    expect(late.end).toBe('RESOURCE_LIMIT/WALL_TIME')
    expect(spin.end).toBe('RESOURCE_LIMIT/CPU_TIME')
    expect(spin.resourceUsage?.cpu_ms).toBeGreaterThanOrEqual(500)
    expect(flood.end).toBe('RESOURCE_LIMIT/OUTPUT')
    expect(flood.stdout).toHaveLength(16 * 1024)
    expect(problem.end).toBe('RESOURCE_LIMIT/OUTPUT')
  })

  it('cannot fork without bound, and what it leaves behind goes with it', async () => {
    const bomb = await bench.run({
      config: sh('bomb() { bomb | bomb & }; bomb; sleep 2; exit 1'),
      policy: { resource_limits: { memory_mb: 64, max_pids: 20 } },
      job: { timeoutSeconds: 15 },
    })
    expect(bomb.verdict.kind).toBe('failed')
    const daemon = await bench.run({ config: sh('(setsid sleep 100 &) ; echo done') })
    expect(daemon).toMatchObject({ end: 'SUCCEEDED', stdout: 'done\n' })
    expect(daemon.resourceUsage?.duration_seconds).toBeLessThan(20)
  })

  it('is stopped, then killed, when it is cancelled', async () => {
    const stop = new AbortController()
    const kind = bench.run({
      config: sh('trap "echo bye; exit 0" TERM; echo ready; while :; do sleep 0.1; done'),
      signal: stop.signal,
      onOutput: (text) => text.includes('ready') && stop.abort(),
    })
    expect(await kind).toMatchObject({ end: 'CANCELLED', stdout: 'ready\nbye\n' })
    const deaf = new AbortController()
    const begun = performance.now()
    const ran = await bench.run({
      config: sh('trap "" TERM; echo ready; while :; do sleep 0.1; done'),
      signal: deaf.signal,
      onOutput: (text) => text.includes('ready') && deaf.abort(),
    })
    expect(ran).toMatchObject({ end: 'CANCELLED' })
    expect(performance.now() - begun).toBeLessThan(15_000)
  })

  it('sees no folder on disk that its image declares, but one in memory', async () => {
    await engine.importBusybox('test/volumes:1', [
      'VOLUME /data',
      'ENTRYPOINT ["/bin/sh","-c"]',
      'ENV FROM_IMAGE=1',
      'WORKDIR /data',
    ])
    const ran = await bench.run({
      config: {
        image: 'test/volumes:1',
        command: ['grep " /data " /proc/mounts; pwd; touch x && ls; echo $FROM_IMAGE'],
      },
    })
    expect(ran.stdout).toMatch(/^tmpfs \/data tmpfs rw,nosuid,nodev,noexec/)
    expect(ran.stdout).toMatch(/\/data\nx\n1\n$/)
  })

  it('fails where the image has no such command', async () => {
    expect(await bench.run({ config: { command: ['/no/such'] } })).toMatchObject({
      end: 'USER_CODE_ERROR/NON_ZERO_EXIT',
      stderr: expect.stringContaining('/no/such') as unknown,
      output: { exit_code: 127 },
    })
  })

  it('has labels that say whose it is', async () => {
    const stop = new AbortController()
    const running = bench.run({ config: sh('sleep 60'), signal: stop.signal, job: { id: 'ab12', attempt: 2 } })
    await expect
      .poll(() => engine.api.listContainers(), { timeout: 10_000 })
      .toMatchObject([
        {
          Labels: {
            'ergon.instance': INSTANCE,
            'ergon.job': 'ab12',
            'ergon.attempt': '2',
            'ergon.service': 'box',
            'ergon.role': 'job',
          },
        },
      ])
    stop.abort()
    await running
  })
})

describe('files', () => {
  const policy = { formats: ['txt', 'json'], max_artifacts: 3, resource_limits: { memory_mb: 64, max_artifact_mb: 1 } }
  const inOutput = (script: string) => ({ config: sh(`cd "$ERGON_OUTPUT_DIR"; ${script}`), policy })

  it('of the output folder become artifacts', async () => {
    const ran = await bench.run(
      inOutput('echo one >a.txt; echo {} >b.json; mkdir c; echo deep >c/d.txt; grep " $PWD " /proc/mounts'),
    )
    expect(ran.stdout).toMatch(/^tmpfs \/ergon\/output tmpfs rw,nosuid,nodev,noexec,.*size=32768k,nr_inodes=4096/)
    expect(ran.end).toBe('SUCCEEDED')
    expect(ran.artifacts.map(({ name, format }) => [name, format])).toEqual([
      ['a.txt', 'txt'],
      ['b.json', 'json'],
    ])
    const [first] = ran.artifacts
    expect(readFileSync(first?.file.path ?? '', 'utf8')).toBe('one\n')
  })

  it('are wanted of no service that does not say so', async () => {
    const ran = await bench.run({ config: sh('echo "[$ERGON_OUTPUT_DIR]"; ls /ergon') })
    expect(ran.stdout).toBe('[]\ninput\n')
  })

  it('that are refused decide how the job ends', async () => {
    const cases: [name: string, script: string, end: string][] = [
      ['a link', 'ln -s /etc/passwd a.txt', 'SANDBOX_VIOLATION/ARTIFACT_SYMLINK'],
      ['a hard link', 'echo x >a.txt; ln a.txt b.txt', 'SANDBOX_VIOLATION/ARTIFACT_HARD_LINK'],
      ['a name with a newline', 'echo x >"$(printf \'a\\nb.txt\')"', 'SANDBOX_VIOLATION/ARTIFACT_BAD_NAME'],
      ['a name that is no UTF-8', 'echo x >"$(printf \'\\377.txt\')"', 'SANDBOX_VIOLATION/ARTIFACT_BAD_NAME'],
      ['content of another kind', "printf '\\000' >a.txt", 'SANDBOX_VIOLATION/ARTIFACT_CONTENT_MISMATCH'],
      ['too large', 'yes | head -c 1100000 >a.txt', 'RESOURCE_LIMIT/ARTIFACT_BYTES'],
      ['a sparse file of a terabyte', 'truncate -s 1000000000000 a.txt', 'RESOURCE_LIMIT/ARTIFACT_BYTES'],
      ['one in a folder', 'mkdir d; truncate -s 1000000000000 d/a.txt', 'RESOURCE_LIMIT/ARTIFACT_BYTES'],
    ]
    const ran = await Promise.all(cases.map(([, script]) => bench.run(inOutput(script))))
    expect(ran.map(({ end }, index) => [cases[index]?.[0], end])).toEqual(cases.map(([name, , end]) => [name, end]))
    for (const { end, artifacts } of ran) if (end.startsWith('SANDBOX_VIOLATION')) expect(artifacts).toEqual([])
  })

  it('of a job that was killed are left', async () => {
    const ran = await bench.run({ ...inOutput('echo x >a.txt; sleep 60'), job: { timeoutSeconds: 2 } })
    expect(ran).toMatchObject({ end: 'RESOURCE_LIMIT/WALL_TIME', artifacts: [] })
  })
})

it('jobs run at the same time', async () => {
  const ran = await Promise.all(
    Array.from({ length: 6 }, (_, n) => bench.run({ config: sh('cat; sleep 0.5'), input: { n } })),
  )
  expect(ran.map(({ stdout }) => stdout)).toEqual(Array.from({ length: 6 }, (_, n) => `{"n":${n}}`))
})
