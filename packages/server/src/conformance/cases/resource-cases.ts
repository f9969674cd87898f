import { all, endedWithin, logged, printed } from '../checks.ts'
import { type HostileCase, limits } from '../hostile-case.ts'

const PIDS = { verdicts: ['RESOURCE_LIMIT/PIDS'], counter: 'pids' }
const MEMORY = { verdicts: ['RESOURCE_LIMIT/MEMORY'], counter: 'memory_bytes' }
const DISK = { verdicts: ['RESOURCE_LIMIT/DISK'], counter: 'disk_bytes' }
const FILES = { verdicts: ['RESOURCE_LIMIT/FILES'], counter: 'disk_files' }
const CPU = { verdicts: ['RESOURCE_LIMIT/CPU_TIME'], counter: 'cpu_ms' }
const WALL = { verdicts: ['RESOURCE_LIMIT/WALL_TIME'], counter: 'wall_ms' }

/** Each fork copies what a warm template has imported, a refused one too: the full number takes its time. */
const FEW = { max_pids: 8 }

/** Rows 1 to 20: what takes more of the machine than it was given. */
export const RESOURCE_CASES: readonly HostileCase[] = [
  { row: 1, name: 'fork bomb', program: 'import os\nwhile True: os.fork()', ...PIDS, change: limits(FEW) },
  {
    row: 2,
    name: 'fork bomb that swallows errors until its CPU time is used',
    program: 'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass',
    change: limits({ ...FEW, cpu_ms: 500 }),
    ...CPU,
    check: logged(/processes or threads were refused/),
  },
  {
    row: 2,
    name: 'fork bomb that gives up',
    program:
      'import os, time\nfor _ in range(40):\n  try:\n    if os.fork() == 0: time.sleep(60); os._exit(0)\n  except OSError: pass',
    change: limits(FEW),
    verdicts: ['SUCCEEDED'],
    counter: null,
    check: logged(/processes or threads were refused/),
  },
  {
    row: 3,
    name: 'thread bomb',
    program: 'import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()',
    ...PIDS,
  },
  {
    row: 4,
    name: 'memory, appending for ever',
    program: 'a = []\nwhile True: a.append(bytearray(b"x" * (1 << 20)))',
    change: limits({}),
    ...MEMORY,
  },
  {
    row: 5,
    name: 'memory, one huge allocation',
    program: 'a = b"x" * (1 << 30)',
    change: limits({}),
    ...MEMORY,
  },
  {
    row: 5,
    name: 'an allocation larger than the memory of the whole machine',
    program: 'a = b"x" * (1 << 45)',
    change: limits({}),
    ...MEMORY,
  },
  {
    row: 5,
    name: 'an allocation larger than the memory of the whole machine, caught',
    program: 'try: a = b"x" * (1 << 45)\nexcept MemoryError: print("refused")',
    change: limits({}),
    verdicts: ['SUCCEEDED'],
    counter: null,
    check: all(printed('refused\n'), logged(/^an allocation of \d{14,} bytes was refused/)),
  },
  ...['/tmp', '/dev/shm', '/workspace'].map((folder) => ({
    row: 6,
    name: `memory through a file in ${folder}`,
    program: `f = open("${folder}/a", "wb")\nwhile True: f.write(b"x" * (1 << 20))`,
    change: limits({}),
    ...DISK,
  })),
  {
    row: 6,
    name: 'memory through files in two places',
    program: `
for folder in ("/tmp", "/dev/shm"):
  with open(folder + "/a", "wb") as f:
    for _ in range(31): f.write(b"x" * (1 << 20))
a = b"x" * (32 << 20)`,
    change: limits({}),
    ...MEMORY,
  },
  { row: 7, name: 'CPU spin', program: 'while True: pass', change: limits({ cpu_ms: 500 }), ...CPU },
  {
    row: 8,
    name: 'CPU spin in a child',
    program: 'import os\nif os.fork() == 0:\n  while True: pass\nos.wait()',
    change: limits({ cpu_ms: 500 }),
    ...CPU,
  },
  {
    row: 9,
    name: 'sleep in a child',
    program: 'import os, time\nif os.fork() == 0: time.sleep(60)\nos.wait()',
    change: limits({ timeout_ms: 500 }),
    ...WALL,
    check: ({ status }) => (status === 'TIMED_OUT' ? null : `its status is ${status}`),
  },
  {
    row: 10,
    name: 'ignores every signal it can',
    program:
      'import signal\nfor n in range(1, 65):\n  try: signal.signal(n, signal.SIG_IGN)\n  except (OSError, ValueError): pass\nwhile True: pass',
    change: limits({ cpu_ms: 500 }),
    ...CPU,
  },
  {
    row: 11,
    name: 'double-forked daemon',
    program:
      'import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    os.closerange(0, 64); time.sleep(60)\n  os._exit(0)\nos.wait()',
    verdicts: ['SUCCEEDED'],
    counter: null,
    check: endedWithin(5000),
  },
  {
    row: 12,
    name: 'grandchild that keeps the output open',
    program: 'import os, time\nif os.fork() == 0: time.sleep(60); os._exit(0)\nprint("parent done")',
    verdicts: ['SUCCEEDED'],
    counter: null,
    check: all(endedWithin(5000), printed('parent done\n')),
  },
  ...(['stdout', 'stderr'] as const).map((stream, index) => ({
    row: 13 + index,
    name: `${stream} flood`,
    program: `import sys\nwhile True: sys.${stream}.write("x" * 65536)`,
    change: limits({ max_output_kb: 16 }),
    verdicts: ['RESOURCE_LIMIT/OUTPUT'],
    counter: `${stream}_bytes`,
  })),
  {
    row: 15,
    name: 'invalid UTF-8, NUL and terminal escapes',
    program: 'import os\nos.write(1, b"a\\xff\\xfe\\x00\\x1b[2J\\x1b]0;title\\x07\\x9b31mb\\n")',
    verdicts: ['SUCCEEDED'],
    counter: null,
    check: printed(/^a[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*b\n$/),
  },
  {
    row: 16,
    name: 'big file',
    program: 'f = open("/workspace/a", "wb")\nwhile True: f.write(bytes(1 << 20))',
    change: limits({}),
    ...DISK,
  },
  {
    row: 17,
    name: 'sparse file of 1 TiB',
    program: 'open("/workspace/a", "wb").truncate(1 << 40)',
    verdicts: ['RESOURCE_LIMIT/FILE_SIZE'],
    counter: 'file_size_bytes',
  },
  {
    row: 18,
    name: '100 000 files',
    program: 'for n in range(100_000): open(f"/workspace/{n}", "w").close()',
    ...FILES,
  },
  {
    row: 19,
    name: 'descriptors without end',
    program: 'a = []\nwhile True: a.append(open("/dev/null"))',
    // Without a descriptor left the program's last exception cannot always be reported.
    verdicts: ['USER_CODE_ERROR/PYTHON_EXCEPTION', 'USER_CODE_ERROR/NON_ZERO_EXIT'],
    counter: null,
  },
  {
    row: 20,
    name: 'folders 10 000 deep with the longest names',
    program: 'import os\nfor _ in range(10_000): os.mkdir("d" * 255); os.chdir("d" * 255)',
    ...FILES,
  },
]
