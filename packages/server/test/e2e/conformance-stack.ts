import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { StartConformanceStack } from '../../src/testing/runner-conformance.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { findSandboxes } from './leftovers.ts'

/** `ergon dev` with a registry, in a data folder of its own, every word of its log kept. */
export const startConformanceStack: StartConformanceStack = async ({ registry, files, env }) => {
  const home = new ErgonHome({ ERGON_LOG_LEVEL: 'debug' })
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(home.folder, name)
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
  const child = home.spawn(['dev', '--json', '--registry', home.file('registry.yaml', registry)], { ...env })
  let log = ''
  child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString('utf8')))
  const ended = once(child, 'exit').then(() => Promise.reject(new Error(`ergon dev has ended: ${log.slice(-4_000)}`)))
  const [line] = await Promise.race([once(createInterface({ input: child.stdout ?? process.stdin }), 'line'), ended])
  ended.catch(() => {})
  let validated = 0
  return {
    db: await home.connect(databaseUrlOf(JSON.parse(String(line)))),
    artifactsFolder: home.paths.artifacts,
    spoolFolder: home.paths.spool,
    log: () => log,
    async validate(text) {
      const { code, stdout, stderr } = await home.run('validate-config', home.file(`${++validated}.yaml`, text))
      return code === 0 ? '' : stdout + stderr
    },
    leftovers: () => Promise.resolve(findSandboxes(home)),
    stop: () => home.remove(),
  }
}
