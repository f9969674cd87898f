"""What a template does to its memory leaves it a working interpreter, with fewer mappings to copy."""

import json
import subprocess
import sys

from ergon_sandboxd.bundle import SHIM_SOURCE

PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import ergon_memory
room = ergon_memory.make_room()
# Libraries of several parts each, and objects between them.
import ctypes, decimal, hashlib, multiprocessing, socket, ssl
kept = [str(number) * 20 for number in range(50_000)]
del room
def libraries():
    return [line.split() for line in open("/proc/self/maps") if ".so" in line]
before = libraries()
ergon_memory.make_forks_cheap()
after = libraries()
child = os.fork()
if child == 0:
    works = decimal.Decimal(2).sqrt() and hashlib.sha256(kept[-1].encode()).digest() and ssl.create_default_context()
    os._exit(0 if works and kept == [str(number) * 20 for number in range(50_000)] else 1)
print(json.dumps({"before": before, "after": after, "child": os.waitpid(child, 0)[1]}))
"""


def test_libraries_become_fewer_mappings_of_the_same_pages() -> None:
    command = [sys.executable, "-s", "-B", "-c", PROGRAM, str(SHIM_SOURCE)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout)
    assert found["child"] == 0
    before, after = found["before"], found["after"]
    assert {line[5] for line in after} == {line[5] for line in before}
    assert len(after) <= len(before) * 0.6
    # Nothing can be written and executed that could not before.
    assert not [line for line in after if "w" in line[1] and "x" in line[1]]
