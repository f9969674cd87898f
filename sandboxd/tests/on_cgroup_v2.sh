#!/bin/sh
# Runs the live job tests on a pure cgroup v2 kernel, whatever the host has: Debian's user-mode-linux boots on the
# host's own files, read-only. Needs ERGON_TEST_ENVIRONMENTS, and linux.uml in PATH or its path in LINUX_UML.
if [ "$$" -ne 1 ]; then
  self=$(readlink -f "$0")
  log=$(mktemp)
  "${LINUX_UML:-linux.uml}" mem=2G rootfstype=hostfs rootflags=/ ro "init=$self" con=null con0=fd:0,fd:1 quiet \
    "ERGON_TEST_ENVIRONMENTS=${ERGON_TEST_ENVIRONMENTS:?}" </dev/null 2>&1 | tee "$log"
  grep -q '^ALL PASSED' "$log"
  result=$?
  rm -f "$log"
  exit "$result"
fi
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t cgroup2 none /sys/fs/cgroup
cd "$(dirname "$0")/.." || exit 1
# That kernel has no IPv6.
/usr/bin/python3 -m pytest -q --tb=short --color=no --basetemp=/run/tests tests/test_cgroup.py tests/test_live_jobs.py tests/test_live_evidence.py -k "not AF_INET6 and not ordinary" && echo "ALL PASSED"
/usr/bin/python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)'
