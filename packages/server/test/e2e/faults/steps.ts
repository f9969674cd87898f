import type { FaultHost, HeldJob } from './fault-host.ts'

/** Waits for a moment on the clock, so that a first attempt can be killed in it and a second need not wait as long. */
const untilLater = () =>
  `import time\nprint("begun", flush=True)\nwhile time.time() < ${Date.now() / 1000 + 8}: time.sleep(0.05)\n`
const TALKS = 'import os\nfor _ in range(64): os.write(1, b"x" * 65536)\n'
const LEAVES = 'open("/workspace/output/a.txt", "w").write("x" * (8 << 20))\n'
export const ENDS = 'print("fine")\n'

/** The steps of a job's life, in the order in which jobs are stopped there: those that are not waited for long last. */
export const STEPS: Record<string, (host: FaultHost) => Promise<HeldJob>> = {
  // It writes more than the way to the worker holds, so it stands still too.
  'while output streams': (host) =>
    host.hold(TALKS, (direction, { type }) => (direction === 'answer' && type === 'output' ? 'within' : null)),
  'at collection': (host) =>
    host.hold(LEAVES, (direction, { type }) => (direction === 'answer' && type === 'data' ? 'within' : null)),
  'between start and started': (host) => host.holdStarting(ENDS, 'runtime'),
  'in init, before started': (host) => host.holdStarting(ENDS, 'init'),
  running: (host) =>
    host.hold(untilLater(), (direction, { type }) => (direction === 'answer' && type === 'output' ? 'after' : null)),
  'while inputs are sent': (host) =>
    host.hold(ENDS, (direction, { type }) => (direction === 'request' && type === 'data' ? 'within' : null)),
  'before accepted': (host) =>
    host.hold(ENDS, (direction, { type }) => (direction === 'request' && type === 'run' ? 'within' : null)),
  'while recording': (host) => host.holdRecording(ENDS),
}
