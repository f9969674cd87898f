import { once } from 'node:events'
import { Writable } from 'node:stream'
import { archiveOf } from '../../packages/server/src/runners/docker/archive.ts'
import { INPUT_FILE, INPUT_FOLDER, type jobContainer } from '../../packages/server/src/runners/docker/container-spec.ts'
import type { TestEngine } from '../../packages/server/src/testing/docker-engine.ts'

/** The calls of the engine's API that one job needs, one after the other, and nothing of ours around them. */
export async function callEngine(
  api: TestEngine['api'],
  image: string,
  spec: ReturnType<typeof jobContainer>,
): Promise<void> {
  await api.getImage(image).inspect()
  const container = await api.createContainer(spec)
  const input = await archiveOf({ name: INPUT_FILE, mode: 0o444, content: '{}' })
  await container.putArchive(input, { path: INPUT_FOLDER })
  const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true })
  const ended = once(stream, 'close')
  const nowhere = () => new Writable({ write: (_chunk, _encoding, done) => done() })
  api.modem.demuxStream(stream, nowhere(), nowhere())
  await container.start()
  stream.end('{}')
  await container.wait()
  await ended
  await container.inspect()
  await container.remove({ force: true, v: true })
}
