"""The floor of bench/spine: fork+exec and `crun run` of /bin/true in turn, in milliseconds, as one JSON object.

Runs in a mount namespace of its own, where the v2 mount of a hybrid host is hidden: crun refuses to work beside it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMESPACES = ("pid", "ipc", "uts", "mount", "network", "user", "cgroup")


def bundle_config(rootfs: str) -> dict[str, object]:
    mapping = [{"containerID": 0, "hostID": 300000, "size": 65536}]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 1000, "gid": 1000},
            "args": ["/bin/true"],
            "cwd": "/",
            "env": ["PATH=/usr/bin:/bin"],
            "noNewPrivileges": True,
        },
        "root": {"path": rootfs, "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES], "uidMappings": mapping, "gidMappings": mapping},
    }


def milliseconds(command: list[str]) -> float:
    started = time.perf_counter()
    # A pipe: crun gives its standard input to the container's uid, and /dev/null would be the host's own device.
    subprocess.run(command, check=True, input=b"")
    return (time.perf_counter() - started) * 1e3


def main(rootfs: str, rounds: int) -> None:
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL, check=False)
    # The mount goes with this process's mount namespace; the folder below it stays empty.
    folder = tempfile.mkdtemp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", folder], check=True)
    Path(folder, "config.json").write_text(json.dumps(bundle_config(rootfs)))
    os.mkdir(f"{folder}/state")
    crun = ["crun", "--cgroup-manager=disabled", f"--root={folder}/state", "run", f"--bundle={folder}", "spine"]
    samples: dict[str, list[float]] = {"fork_exec": [], "crun": []}
    for round_number in range(rounds + 2):
        fork_exec, crun_run = milliseconds(["/bin/true"]), milliseconds(crun)
        if round_number >= 2:
            samples["fork_exec"].append(fork_exec)
            samples["crun"].append(crun_run)
    subprocess.run(["umount", folder], check=True)
    os.rmdir(folder)
    print(json.dumps(samples))


main(sys.argv[1], int(sys.argv[2]))
