"""Start PID 1 of a template's sandbox; see ergon_template.py."""

import sys

from ergon_template import main

main(sys.argv[1])
