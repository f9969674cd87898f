import { buffer } from 'node:stream/consumers'
import { pack } from 'tar-stream'

export interface ArchivedFile {
  name: string
  mode: number
  content: string | Uint8Array
}

/** An archive of one file that belongs to root; the same bytes for the same file. */
export async function archiveOf({ name, mode, content }: ArchivedFile): Promise<Buffer> {
  const archive = pack()
  archive.entry({ name, mode, uid: 0, gid: 0, mtime: new Date(0) }, content)
  archive.finalize()
  return buffer(archive)
}
