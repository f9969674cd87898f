#!/bin/sh
# The published package carries what a checkout has at its root: the privileged helper and the environments' definitions.
set -eu
rm -rf sandboxd environments
mkdir sandboxd
cp -R ../../environments .
for part in sandboxd run.py README.md PROTOCOL.md ergon_sandboxd in_sandbox; do cp -R "../../sandboxd/$part" sandboxd/; done
find sandboxd -name __pycache__ -prune -exec rm -rf {} +
