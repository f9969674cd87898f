# shellcheck shell=sh
# Sourced by the scripts of this folder: where things are, and the Node that runs them. `repo` is set by the caller.

umask 022
setup_dir=$repo/.setup

# The defaults of packages/server/src/config/load-settings.ts. Not exported: the command says itself where a setting came from.
if [ -z "${ERGON_HOME:-}" ] || [ -z "${ERGON_CACHE:-}" ]; then
  if [ "${UID:-$(id -u)}" = 0 ]; then
    : "${ERGON_HOME:=/var/lib/ergon}" "${ERGON_CACHE:=/var/cache/ergon}"
  else
    : "${ERGON_HOME:=${XDG_DATA_HOME:-$HOME/.local/share}/ergon}" "${ERGON_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/ergon}"
  fi
fi
: "${ERGON_ENVIRONMENTS:=$ERGON_HOME/environments}"

# Chosen by bin/setup: Node 24 or newer, from npm where the machine's own is older.
node=$setup_dir/node

# True when set-up is done for this checkout, this machine and these folders. Costs a few milliseconds: every ./bin/ergon asks.
is_set_up() {
  [ -f "$setup_dir/done" ] && [ -x "$node" ] && [ -f "$repo/packages/server/dist/cli/main.js" ] || return 1
  [ -x /usr/bin/crun ] && [ -x /usr/bin/mmdebstrap ] && [ -f "$ERGON_ENVIRONMENTS/python-sci.default" ] || return 1
  # A folder is newer too when a file in it was added or removed.
  [ -z "$(find "$repo/packages" "$repo/environments" "$repo/bin/setup" "$repo/bin/lib.sh" "$repo/package-lock.json" "$repo/tsconfig.base.json" \
    \( -name node_modules -o -name dist -o -name test -o -name sql \) -prune -o -newer "$setup_dir/done" ! -path "$repo/packages/*/." \
    \( -type d -o -type f \) -print -quit 2>/dev/null)" ]
}
