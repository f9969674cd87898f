import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { jobResultSchema } from '@ergon/contract'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ErgonHome } from './ergon.ts'

const EXAMPLES = path.join(import.meta.dirname, '../../../../examples/registry')
const home = new ErgonHome()
let server: ChildProcess
beforeAll(async () => {
  server = spawn(process.execPath, [path.join(EXAMPLES, 'functions/count-words.mjs')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(server.stdout ?? server, 'data')
})
afterAll(async () => {
  server.kill()
  await home.remove()
})

test('the function of the example is called as its comment says', async () => {
  const { code, stdout } = await home.run(
    ...['call', 'words.count', '--input', '{"payload": {"text": "to be or not to be"}}'],
    ...['--registry', path.join(EXAMPLES, 'registry.yaml'), '--json'],
  )
  expect(code).toBe(0)
  expect(jobResultSchema.parse(JSON.parse(stdout)).outputs.result_json).toEqual({
    payload: { words: 6, distinct: 4 },
    status_code: 200,
    executed_version: null,
  })
})
