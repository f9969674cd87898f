#!/bin/sh
# The published package carries what a checkout has at its root: the privileged helper, the environments' definitions and the examples.
set -eu
rm -rf sandboxd environments examples
mkdir sandboxd
cp -R ../../environments ../../examples .
for part in sandboxd run.py README.md PROTOCOL.md ergon_sandboxd in_sandbox; do cp -R "../../sandboxd/$part" sandboxd/; done
find sandboxd -name __pycache__ -prune -exec rm -rf {} +
