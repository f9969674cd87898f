import { describeRunnerConformance } from '../../../src/testing/runner-conformance.ts'
import { startConformanceStack } from '../conformance-stack.ts'

/** A registry of one service whose program does what its input says. */
const registry = (change: { from: string; to: string } = { from: '', to: '' }) =>
  `services:
  - name: subject
    type: computation
    category: tests
    execution_type: sandbox
    operations:
      - {name: run, timeout: 30, max_retries: 0, input_schema: {parameters: {do: string}}}
    runner_config: {runtime: python, environment: python-sci, script: program.py}
    security_policy: {resource_limits: {memory_mb: 128, max_output_kb: 64}, formats: [txt]}
`.replace(change.from, change.to)

const PROGRAM = `
import json, os, sys, time
action = json.load(open(os.environ["ERGON_PARAMETERS"]))["do"]
if action == "succeed":
    json.dump({"answer": 42}, open(os.environ["ERGON_RESULT"], "w"))
elif action == "fail":
    raise ValueError("as asked")
elif action == "sleep":
    print("in the middle", flush=True)
    time.sleep(60)
elif action == "flood":
    while True:
        sys.stdout.write("x" * 65536)
elif action == "leak":
    print("environment", dict(os.environ), flush=True)
    open(os.environ["ERGON_OUTPUT_DIR"] + "/environment.txt", "w").write(repr(dict(os.environ)))
`

const job = (action: unknown) => ({ service: 'subject', operation: 'run', input: { parameters: { do: action } } })

describeRunnerConformance(
  {
    executionType: 'sandbox',
    registry: registry(),
    files: { 'program.py': PROGRAM },
    env: {},
    success: { ...job('succeed'), result: { answer: 42 } },
    failure: { ...job('fail'), category: 'USER_CODE_ERROR', code: 'PYTHON_EXCEPTION' },
    slow: job('sleep'),
    flood: { ...job('flood'), category: 'RESOURCE_LIMIT', code: 'OUTPUT' },
    malformedInput: { ...job(1), code: 'INPUT_INVALID' },
    malformedConfigs: [
      { registry: registry({ from: 'script: program.py', to: '' }), says: 'needs script' },
      { registry: registry({ from: 'memory_mb: 128', to: 'memory_mb: lots' }), says: 'resource_limits.memory_mb' },
    ],
    // A sandbox is given no secret at all.
    leak: { ...job('leak'), shows: /environment.*ERGON_RESULT/ },
    leftovers: () => Promise.resolve([]),
  },
  startConformanceStack,
)
