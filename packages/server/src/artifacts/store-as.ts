import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'

/** As FilesystemArtifactStore stores a file: staged beside its place, made read-only, written out, then linked. */
const STORE = `
set -euC
umask 022
staged=$1.$$.tmp
mkdir -p -- "\${1%/*}"
trap 'rm -f -- "$staged"' EXIT
cat >"$staged"
chmod 0444 -- "$staged"
sync -- "$staged"
ln -T -- "$staged" "$1" || [ -f "$1" ]
`

/**
 * Stores a file in a folder of another user with that user's rights. Root must not write there itself: its owner could
 * put a link in the way of each step, and so have root write, or give away, any file of the machine.
 */
export async function storeAs(user: { uid: number; gid: number }, source: string, target: string): Promise<void> {
  const input = await open(source, 'r')
  try {
    const child = spawn('/bin/sh', ['-c', STORE, 'sh', target], {
      ...user,
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
      stdio: [input.fd, 'ignore', 'pipe'],
    })
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-1_000)
    })
    await once(child, 'close')
    if (child.exitCode === 0) return
    const error = new Error(
      `${target} could not be stored: ${said.trim() || `the helper ended with ${child.signalCode}`}`,
    )
    throw /No space left|quota exceeded/i.test(said) ? Object.assign(error, { code: 'ENOSPC' }) : error
  } finally {
    await input.close()
  }
}
