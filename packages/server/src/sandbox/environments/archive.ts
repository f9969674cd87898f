import { spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { once } from 'node:events'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'

export interface ArchiveFacts {
  /** SHA-256 of the uncompressed archive, in hex: the identity of an environment. */
  sha256: string
  size_bytes: number
}

const toolEnv = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' }

/** Writes a folder as a tar archive whose bytes depend on its content alone, compressed into `file`; returns the facts of the uncompressed bytes. */
export async function writeArchive(folder: string, file: string, modifiedAtS: number): Promise<ArchiveFacts> {
  const tar = spawn(
    'tar',
    [
      '--create',
      '--format=gnu',
      '--sort=name',
      '--numeric-owner',
      `--mtime=@${modifiedAtS}`,
      '--no-xattrs',
      '--no-acls',
      '--no-selinux',
      '--directory',
      folder,
      '.',
    ],
    { env: toolEnv, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const zstd = spawn('zstd', ['-3', '-T0', '--quiet', '--stdout'], {
    env: toolEnv,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const facts = countBytes()
  const ended = [succeeded(tar, 'tar'), succeeded(zstd, 'zstd')]
  await Promise.all([
    pipeline(tar.stdout, facts.through, zstd.stdin),
    pipeline(zstd.stdout, createWriteStream(file)),
    ...ended,
  ])
  return facts.read()
}

/** Unpacks what writeArchive wrote into an existing folder; returns the facts of the uncompressed bytes, for the caller to compare. */
export async function unpackArchive(file: string, folder: string): Promise<ArchiveFacts> {
  const zstd = spawn('zstd', ['-d', '--quiet', '--stdout'], {
    env: toolEnv,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const tar = spawn(
    'tar',
    ['--extract', '--preserve-permissions', '--same-owner', '--numeric-owner', '--directory', folder],
    {
      env: toolEnv,
      stdio: ['pipe', 'inherit', 'inherit'],
    },
  )
  const facts = countBytes()
  const ended = [succeeded(zstd, 'zstd'), succeeded(tar, 'tar')]
  await Promise.all([
    pipeline(createReadStream(file), zstd.stdin),
    pipeline(zstd.stdout, facts.through, tar.stdin),
    ...ended,
  ])
  return facts.read()
}

function countBytes(): { through: Transform; read: () => ArchiveFacts } {
  const hash = createHash('sha256')
  let sizeBytes = 0
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      sizeBytes += chunk.length
      done(null, chunk)
    },
  })
  return {
    through,
    read: () => ({ sha256: hash.digest('hex'), size_bytes: sizeBytes }),
  }
}

async function succeeded(child: ChildProcess, name: string): Promise<void> {
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  if (code !== 0) throw new Error(`${name} ended with ${code ?? signal}`)
}
