#!/bin/sh
# Runs the tests on a pure cgroup v2 kernel, whatever the host has: Debian's user-mode-linux boots on the host's own
# files, read-only, and ends by a time-out when it hangs. Needs root, and ERGON_TEST_ENVIRONMENTS.
#   on_cgroup_v2.sh root REPORT.xml        sandboxd as root
#   on_cgroup_v2.sh delegated REPORT.xml   sandboxd as an ordinary user in a delegated subtree
# Further arguments are pytest's.
patience_seconds=${ERGON_TEST_GUEST_SECONDS:-900}
user_id=2000

boot() {
  who=$1 report=$(readlink -f "$2") && shift 2 || { sed -n '4,6s/^# //p' "$0" >&2; exit 2; }
  rm -f "$report"
  # A PID namespace of its own: whatever way this ends, no process of that kernel is left.
  timeout --foreground --kill-after=5 $patience_seconds unshare --pid --fork --kill-child \
    "${LINUX_UML:-linux.uml}" mem=1G rootfstype=hostfs rootflags=/ ro "init=$(readlink -f "$0")" con=null con0=fd:0,fd:1 quiet \
    "ERGON_TEST_ENVIRONMENTS=${ERGON_TEST_ENVIRONMENTS:?}" "WHO=$who" "REPORT=$report" "PYTEST_ARGUMENTS=\"$*\"" </dev/null 2>&1 |
    grep --line-buffered -vE '^(SELinux:|mmapper_init|Failed to initialize ubd|Memory cgroup out of memory|reboot:|$)'
  # The guest writes it last: without it, the kernel did not come so far.
  [ -s "$report" ] || { echo "on_cgroup_v2.sh: no report after $patience_seconds s or less: the guest hung, or could not start" >&2; exit 1; }
  ! grep -qE '<testsuite [^>]*(errors|failures)="[1-9]' "$report"
}

as_root() { "$@"; }

# What systemd does for a user's unit with Delegate=yes: the group, and these of its files, belong to the user.
as_ordinary_user() {
  for file in passwd subuid subgid; do cp "/etc/$file" "/run/$file"; done
  echo "ergon-test:x:$user_id:$user_id::/run/tests:/bin/sh" >>/run/passwd
  for file in subuid subgid; do echo "ergon-test:100000:65536" >>/run/$file; done
  for file in passwd subuid subgid; do mount --bind "/run/$file" "/etc/$file"; done
  group=/sys/fs/cgroup/delegated
  mkdir $group
  chown $user_id $group $group/cgroup.procs $group/cgroup.subtree_control $group/cgroup.threads
  chown -R $user_id:$user_id /run/tests
  # shellcheck disable=SC2016 # expanded by the inner shell
  sh -c 'echo 0 >$0/cgroup.procs && exec "$@"' $group setpriv --reuid $user_id --regid $user_id --clear-groups -- "$@"
}

inside() {
  export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/tests TMPDIR=/run/tests PYTHONDONTWRITEBYTECODE=1 ERGON_TEST_KERNEL=user-mode-linux
  mount -t proc proc /proc
  mount -t sysfs sys /sys
  mount -t tmpfs tmpfs /run
  mount -t cgroup2 none /sys/fs/cgroup
  echo "+memory +pids +cpu" >/sys/fs/cgroup/cgroup.subtree_control
  mkdir /run/tests /run/report
  cd "$(dirname "$0")/.." || return
  case $WHO in root) as=as_root ;; *) as=as_ordinary_user ;; esac
  # shellcheck disable=SC2086 # a list of words
  $as /usr/bin/python3 -m pytest -q --tb=short --color=no --basetemp=/run/tests/base --junitxml=/run/tests/report.xml ${PYTEST_ARGUMENTS:-tests/test_cgroup.py tests/test_live_*.py}
  mount -t hostfs -o "$(dirname "$REPORT")" none /run/report
  cp /run/tests/report.xml "/run/report/$(basename "$REPORT")"
}

if [ "$$" -ne 1 ] || [ -z "${WHO:-}" ]; then boot "$@"; else
  inside
  /usr/bin/python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)'
fi
