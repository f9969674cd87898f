"""Start PID 1 of a sandbox: a script is compiled at every start, a module is not, so the script is two lines."""

import sys

from ergon_init import main

main(sys.argv[1:])
