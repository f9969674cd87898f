"""Start PID 1 of a template's sandbox; see ergon_launcher.py."""

import sys

from ergon_launcher import main

main(sys.argv[1])
