import { leftNothing } from '../checks.ts'
import { type HostileCase, limits } from '../hostile-case.ts'

const TEXT = { output_spec: { formats: ['txt'] } }

/** A file in the output folder that must not be read: nothing of the job's leaves. */
function refused(row: number, name: string, program: string, code: string, change = TEXT): HostileCase {
  return {
    row,
    name,
    program: `import os, socket\nos.chdir("/workspace/output")\n${program}`,
    change,
    verdicts: [`SANDBOX_VIOLATION/ARTIFACT_${code}`],
    counter: 'collection_violations',
    check: leftNothing,
  }
}

const result = (text: string) => `open("/workspace/result.json", "w").write(${text})`

/** Rows 21 to 30 and 55: what a job leaves behind. */
export const LEAVING_CASES: readonly HostileCase[] = [
  refused(21, 'a link to a file of the host', 'os.symlink("/etc/shadow", "a.txt")', 'SYMLINK'),
  refused(21, 'a link to a file of the image', 'os.symlink("/usr/bin/python3", "a.txt")', 'SYMLINK'),
  refused(22, 'a link to /dev/urandom', 'os.symlink("/dev/urandom", "a.txt")', 'SYMLINK'),
  refused(23, 'a FIFO', 'os.mkfifo("a.txt")', 'NOT_REGULAR'),
  refused(24, 'a hard link', 'open("/workspace/a", "w").close(); os.link("/workspace/a", "a.txt")', 'HARD_LINK'),
  refused(25, 'a socket', 's = socket.socket(socket.AF_UNIX); s.bind("a.txt")', 'NOT_REGULAR'),
  {
    row: 25,
    name: 'a device',
    program: 'import os, stat\nos.mknod("/workspace/output/a.txt", 0o666 | stat.S_IFCHR, os.makedev(1, 9))',
    verdicts: ['SANDBOX_VIOLATION/SYSCALL_DENIED'],
    counter: 'denied_syscalls',
  },
  {
    row: 26,
    name: 'a file that a daemon wants to swap during collection',
    program: `
import os
os.chdir("/workspace/output")
open("a.txt", "w").write("mine")
if os.fork() == 0:
  os.setsid()
  while True:
    os.symlink("/etc/passwd", "../x"); os.rename("../x", "a.txt")
    open("../x", "w").write("mine"); os.rename("../x", "a.txt")
`,
    change: TEXT,
    // When the daemon dies, either of the two is there.
    verdicts: ['SUCCEEDED', 'SANDBOX_VIOLATION/ARTIFACT_SYMLINK'],
    counter: 'collection_violations',
    check: ({ artifacts }) =>
      artifacts.every(({ size_bytes: size }) => size <= 'mine'.length) ? null : 'more than its own four bytes left it',
  },
  refused(
    26,
    'the output folder replaced by a link',
    'os.rename("/workspace/output", "/workspace/away"); os.symlink("/etc", "/workspace/output")',
    'NOT_A_DIRECTORY',
  ),
  refused(27, 'a name with a newline', 'open("a\\nb.txt", "w").close()', 'BAD_NAME'),
  refused(27, 'a name with a leading dash', 'open("-rf.txt", "w").close()', 'BAD_NAME'),
  refused(27, 'a name with a bidirectional override', 'open("a\\u202etxt.exe", "w").close()', 'BAD_NAME'),
  {
    row: 27,
    name: 'an entry point with ../',
    program: '',
    change: {
      inputs: {
        object: {
          type: 'code',
          content: { format: 'text', value: '' },
          runtime: { language: 'python', entrypoint: '../main.py' },
        },
      },
    },
    verdicts: ['VALIDATION_ERROR/INPUT_NAME_INVALID'],
    counter: null,
  },
  {
    row: 27,
    name: 'a dataset name with ../',
    program: '',
    change: { datasets: [{ kind: 'dataset', digest: `sha256:${'0'.repeat(64)}`, name: '../x' }] },
    verdicts: ['VALIDATION_ERROR/INPUT_NAME_INVALID'],
    counter: null,
  },
  {
    row: 28,
    name: 'a zip bomb that the job opens',
    program: `
import io, zipfile
bomb = io.BytesIO()
with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as z:
  for n in range(8): z.writestr(f"{n}", bytes(8 << 20))
zipfile.ZipFile(bomb).extractall("/workspace")`,
    change: limits({ memory_mb: 96 }),
    verdicts: ['RESOURCE_LIMIT/DISK'],
    counter: 'disk_bytes',
  },
  refused(29, 'a picture that is really HTML', 'open("a.png", "w").write("<html></html>")', 'CONTENT_MISMATCH', {
    output_spec: { formats: ['png'] },
  }),
  {
    row: 30,
    name: 'too many artifacts',
    program: 'for n in range(6): open(f"/workspace/output/{n}.txt", "w").close()',
    change: { ...TEXT, ...limits({ max_artifacts: 5 }) },
    verdicts: ['RESOURCE_LIMIT/ARTIFACT_COUNT'],
    counter: 'artifact_count',
  },
  {
    row: 30,
    name: 'too large artifacts',
    program: 'open("/workspace/output/a.txt", "wb").truncate(129 << 20)',
    change: { ...TEXT, ...limits({ memory_mb: 512 }) },
    verdicts: ['RESOURCE_LIMIT/ARTIFACT_BYTES'],
    counter: 'artifact_bytes',
  },
  {
    row: 55,
    name: 'a result larger than the limit',
    program: result(`'"' + "x" * (1 << 20) + '"'`),
    verdicts: ['RESOURCE_LIMIT/RESULT_SIZE'],
    counter: 'result_bytes',
  },
  {
    row: 55,
    name: 'a result nested 100 000 deep',
    program: result(`"[" * 100_000 + "]" * 100_000`),
    verdicts: ['USER_CODE_ERROR/RESULT_TOO_DEEP'],
    counter: null,
  },
  ...['NaN', 'Infinity', '-Infinity'].map((value) => ({
    row: 55,
    name: `${value} in the result`,
    program: result(`'{"x": ${value}}'`),
    verdicts: ['USER_CODE_ERROR/RESULT_NOT_JSON'],
    counter: null,
  })),
]
