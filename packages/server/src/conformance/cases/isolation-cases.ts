import { leftNothing, logged, printed, warned } from '../checks.ts'
import { CALL, type Check, type HostileCase } from '../hostile-case.ts'

const DENIED = { verdicts: ['SANDBOX_VIOLATION/SYSCALL_DENIED'], counter: 'denied_syscalls' }
const NO_NETWORK = { verdicts: ['SANDBOX_VIOLATION/NETWORK_DENIED'], counter: 'network_attempts' }
const OWN_FAULT = { verdicts: ['USER_CODE_ERROR/PYTHON_EXCEPTION'], counter: null }

/** A program whose one act has to fail: should it work, the program says so and ends with the wrong status. */
function refused(row: number, act: string, expected: typeof DENIED | typeof OWN_FAULT): HostileCase {
  return { row, name: act, program: `${CALL}\n${act}\nraise SystemExit("it worked")`, ...expected }
}

function lookedAt(row: number, name: string, program: string, check: Check = () => null): HostileCase {
  return { row, name, program, verdicts: ['SUCCEEDED'], counter: null, check }
}

export const VARIABLES: RegExp =
  /^(ERGON_(PARAMETERS|INPUT_DIR|RESULT|OUTPUT_DIR)|PRAXIS_OUTPUT_DIR|PATH|HOME|LANG|LC_ALL|TZ|PYTHON(HASHSEED|DONTWRITEBYTECODE)|MPL(BACKEND|CONFIGDIR)|SOURCE_DATE_EPOCH|(OMP|OPENBLAS|MKL)_NUM_THREADS|OPENBLAS_CORETYPE|NPY_DISABLE_CPU_FEATURES)$/

/** Numbers on x86_64. Arguments are such that the call would do something if only it were let. */
const CALLS: readonly [row: number, name: string, act: string][] = [
  [35, 'chroot', 'os.chroot("/tmp")'],
  [36, 'mount', 'call(165, b"tmpfs", b"/tmp", b"tmpfs", 0, 0)'],
  [36, 'umount2', 'call(166, b"/proc", 2)'],
  [36, 'pivot_root', 'call(155, b"/tmp", b"/tmp")'],
  [36, 'fsopen', 'call(430, b"tmpfs", 0)'],
  [36, 'open_tree', 'call(428, -100, b"/", 1)'],
  [36, 'move_mount', 'call(429, -100, b"/tmp", -100, b"/workspace", 0)'],
  [36, 'mount_setattr', 'call(442, -100, b"/", 0, b"\\0" * 32, 32)'],
  [37, 'unshare', 'call(272, 0x10000000)'],
  [37, 'clone', 'call(56, 0x10000000 | 17, 0, 0, 0, 0)'],
  [37, 'setns', 'call(308, os.open("/proc/self/ns/user", os.O_RDONLY), 0)'],
  [38, 'ptrace', 'call(101, 16, 1, 0, 0)'],
  [38, 'process_vm_writev', 'call(311, 1, 0, 0, 0, 0, 0)'],
  [38, 'pidfd_getfd', 'call(438, os.pidfd_open(1), 0, 0)'],
  [41, 'io_uring_setup', 'call(425, 1, bytes(120))'],
  [42, 'add_key', 'call(248, b"user", b"name", b"secret", 6, -5)'],
  [42, 'keyctl', 'call(250, 11, 1, 0, 0)'],
  [42, 'request_key', 'call(249, b"user", b"name", 0, -5)'],
  [43, 'vsock', 'socket.socket(40, socket.SOCK_STREAM)'],
  [43, 'packet', 'socket.socket(17, socket.SOCK_RAW, 768)'],
  [43, 'netlink', 'socket.socket(16, socket.SOCK_RAW, 15)'],
  [43, 'AF_ALG', 'socket.socket(38, socket.SOCK_SEQPACKET)'],
  [43, 'raw', 'socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'],
  [46, 'bpf', 'call(321, 0, bytes(72), 72)'],
  [46, 'perf_event_open', 'call(298, bytes(128), 0, -1, -1, 0)'],
  [46, 'userfaultfd', 'call(323, 0)'],
  [46, 'kexec_load', 'call(246, 0, 0, 0, 0)'],
  [46, 'memfd_secret', 'call(447, 0)'],
  [46, 'open_by_handle_at', 'call(304, -100, bytes(16), 0)'],
  [46, 'init_module', 'call(175, b"", 0, b"")'],
]

/** Rows 31 to 49 and 52: reading, writing and calling beyond the sandbox. */
export const ISOLATION_CASES: readonly HostileCase[] = [
  ...[
    '/etc/shadow',
    '/proc/1/environ',
    '/proc/1/root/etc/passwd',
    '/proc/1/mem',
    '/root/.profile',
    '/var/lib/ergon',
  ].map((file) => ({ ...refused(31, `open("${file}", "rb").read()`, OWN_FAULT), name: `read ${file}` })),
  lookedAt(
    32,
    'other processes',
    'import os\nprint(sum(name.isdigit() for name in os.listdir("/proc")))',
    printed('2\n'),
  ),
  lookedAt(33, 'dump the environment', 'import os\nfor name in os.environ: print(name)', ({ outputs }) => {
    const names = (outputs.stdout ?? '').trim().split('\n')
    const foreign = names.filter((name) => !VARIABLES.test(name))
    return names.includes('ERGON_RESULT') && foreign.length === 0 ? null : `its environment is ${names.join(', ')}`
  }),
  ...[
    '/bin/x',
    '/usr/bin/python3',
    '/usr/lib/python3/dist-packages/numpy/__init__.py',
    '/workspace/code/main.py',
    '/x',
  ].map((file) => ({
    ...refused(34, `open("${file}", "r+b" if os.path.exists("${file}") else "wb")`, OWN_FAULT),
    name: `write to ${file}`,
  })),
  lookedAt(
    35,
    'a walk up to the root',
    'import os\nfor _ in range(100): os.chdir("..")\nprint(os.path.samefile(".", "/"), os.path.exists("work"))',
    printed('True False\n'),
  ),
  ...CALLS.map(
    ([row, name, act]): HostileCase => ({
      ...refused(row, act, DENIED),
      name,
      check: ({ error }) =>
        error?.evidence?.observed === 1 ? null : `${String(error?.evidence?.observed)} calls were counted instead of 1`,
    }),
  ),
  // Where the parent lives outside the sandbox its number is 0, which names the program's own process group.
  refused(39, 'os.kill(os.getppid(), 9)', {
    ...OWN_FAULT,
    verdicts: [...OWN_FAULT.verdicts, 'USER_CODE_ERROR/KILLED_BY_SIGNAL'],
  }),
  ...['os.kill(-1, 9)', 'os.kill(1, 9)'].map((act) => refused(39, act, OWN_FAULT)),
  ...['os.setuid(0)', 'os.setgid(0)', 'os.setgroups([0])'].map((act) => refused(40, act, OWN_FAULT)),
  lookedAt(
    40,
    'a setuid file of its own',
    'import os, shutil, subprocess\nshutil.copy("/usr/bin/id", "/tmp/id"); os.chmod("/tmp/id", 0o6755)\nprint(subprocess.run(["/tmp/id", "-u"], capture_output=True, text=True).stdout)',
    printed('1000\n\n'),
  ),
  lookedAt(44, 'locks on shared files', 'import fcntl\nfcntl.flock(open("/usr/bin/python3"), fcntl.LOCK_EX)'),
  {
    row: 45,
    name: 'system calls of 32 bits',
    program:
      'import ctypes, mmap\ncode = mmap.mmap(-1, 4096, prot=7)\ncode.write(bytes.fromhex("b814000000cd80c3"))\nctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()',
    verdicts: ['SANDBOX_VIOLATION/SYSCALL_KILLED'],
    counter: 'signal',
  },
  ...[
    'socket.create_connection(("8.8.8.8", 53), 2)',
    'socket.create_connection(("2001:db8::1", 53), 2)',
    'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53))',
    'socket.create_connection(("169.254.169.254", 80), 2)',
    'socket.getaddrinfo("example.com", 80)',
    'import urllib.request; urllib.request.urlopen("http://example.com", timeout=2)',
  ].map((act) => refused(47, act, NO_NETWORK)),
  lookedAt(
    47,
    'a network attempt that is caught',
    'import socket\ntry: socket.create_connection(("8.8.8.8", 53), 2)\nexcept OSError: pass',
    logged(/network/),
  ),
  lookedAt(
    46,
    'denied calls of rows 36 to 46, caught',
    `${CALL}\nfor number in (165, 272, 321):\n  try: call(number, 0, 0, 0, 0, 0)\n  except PermissionError: pass`,
    warned(['bpf', 'mount', 'unshare'].map((name) => `the system call ${name} was refused, 1 in all`)),
  ),
  {
    row: 52,
    name: 'a core dump',
    program: 'import os\nos.chdir("/workspace/output"); os.abort()',
    verdicts: ['USER_CODE_ERROR/KILLED_BY_SIGNAL'],
    counter: null,
    check: leftNothing,
  },
  {
    ...refused(52, 'import resource; resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))', OWN_FAULT),
    name: 'a higher limit of core dumps',
  },
]
