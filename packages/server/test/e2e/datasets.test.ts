import { randomUUID } from 'node:crypto'
import { chmodSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'

const home = new ErgonHome()
let application: Application

beforeAll(async () => {
  const { line } = await home.start('dev')
  application = new Application(await home.connect(databaseUrlOf(line)))
})

afterAll(async () => {
  await home.remove()
})

test('a dataset that is not stored', async () => {
  const digest = `sha256:${'0'.repeat(64)}`
  const result = await application.runPayload({ datasets: [{ kind: 'dataset', digest }] }, 'pass\n')
  expect(result.error).toMatchObject({ category: 'DEPENDENCY_ERROR', code: 'DATASET_MISSING' })
  expect(result.error?.message).toContain(digest)
})

test.each([
  [
    'two datasets',
    ['a.csv', 'a.csv'],
    [`dataset 1 (sha256:${'1'.repeat(64)})`, `dataset 2 (sha256:${'2'.repeat(64)})`],
  ],
  ['a dataset and the parameters', ['parameters.json'], ["the job's parameters", 'dataset 1 ']],
])('%s of one name are refused, and both are named', async (_name, names, words) => {
  const datasets = names.map((name, index) => ({
    kind: 'dataset',
    name,
    digest: `sha256:${String(index + 1).repeat(64)}`,
  }))
  const { error } = await application.runPayload({ datasets }, 'pass\n')
  expect(error).toMatchObject({ category: 'VALIDATION_ERROR', code: 'INPUT_NAME_INVALID' })
  for (const word of [`"${names[0]}"`, ...words]) expect(error?.message).toContain(word)
})

test('a dataset whose bytes are not those of its digest', async () => {
  const { result } = await home.runProgram(
    'import os; open(os.environ["ERGON_OUTPUT_DIR"] + "/a.csv", "w").write("true")',
  )
  const digest = result.artifacts[0]?.digest ?? ''
  const file = path.join(home.paths.artifacts, 'sha256', digest.slice(7, 9), digest.slice(7))
  chmodSync(file, 0o644)
  writeFileSync(file, 'fake')
  const id = await application.insert({ datasets: [{ kind: 'dataset', digest }] }, 'pass\n')
  await application.until(async () => (await application.failureCodes(id)).length > 0)
  expect(await application.failureCodes(id)).toEqual(['ARTIFACT_CORRUPT'])
  const got = await home.run('artifacts', 'get', digest)
  expect(got).toMatchObject({ code: 3, stderr: expect.stringContaining('ARTIFACT_CORRUPT') })
})

test("another tenant's dataset is as good as missing", async () => {
  const mine = await home.runProgram('import os; open(os.environ["ERGON_OUTPUT_DIR"] + "/a.csv", "w").write("secret")')
  const digest = mine.result.artifacts[0]?.digest
  const theirs = await application.runPayload(
    { workspace_id: randomUUID(), datasets: [{ kind: 'dataset', digest }] },
    'pass\n',
  )
  expect(theirs.error).toMatchObject({ code: 'DATASET_MISSING' })
  const again = await application.runPayload(
    { datasets: [{ kind: 'dataset', digest, name: 'a.csv' }] },
    'print(open("/workspace/input/a.csv").read())\n',
  )
  expect(again.outputs.stdout).toBe('secret\n')
})
