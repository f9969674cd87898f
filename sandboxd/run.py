"""Start the package: isolated mode leaves the script's own folder off the module path."""

import sys
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("sandboxd needs /usr/bin/python3 3.11 or newer")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from ergon_sandboxd.__main__ import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
