import { afterAll, beforeAll, expect, it } from 'vitest'
import { toJson } from '../../src/api/job-json.ts'
import { readJob, readJobView } from '../../src/control/read-job.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { insertJob } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())

const none = { stdout: null, stderr: null }

it.each([
  [
    'sandbox',
    '{"result_json": 1, "stdout": "a", "stderr": "", "artifacts": []}',
    { result_json: 1, stdout: 'a', stderr: '' },
  ],
  [
    'sandbox',
    '{"result_json": null, "stdout": "", "stderr": "", "artifacts": []}',
    { result_json: null, stdout: '', stderr: '' },
  ],
  ['sandbox', '{"stdout": "a"}', { result_json: null, stdout: 'a', stderr: null }],
  [
    'http',
    '{"status_code": 200, "headers": {}, "body": {"stdout": 1}}',
    { result_json: { status_code: 200, headers: {}, body: { stdout: 1 } }, ...none },
  ],
  [
    'shell',
    '{"exit_code": 0, "stdout": "a", "stderr": "b"}',
    { result_json: { exit_code: 0 }, stdout: 'a', stderr: 'b' },
  ],
  ['docker', '{"exit_code": 0, "stdout": "a"}', { result_json: { exit_code: 0 }, stdout: 'a', stderr: null }],
  ['serverless', '{"payload": [1], "status_code": 200}', { result_json: { payload: [1], status_code: 200 }, ...none }],
  // Of an external worker of old.
  ['http', '{"charge": "ch_1"}', { result_json: { charge: 'ch_1' }, ...none }],
  ['http', '{"stdout": {"a": 1}}', { result_json: {}, ...none }],
  ['http', '[1, 2]', { result_json: [1, 2], ...none }],
  ['http', '"$& text"', { result_json: '$& text', ...none }],
  ['http', 'null', { result_json: null, ...none }],
  ['http', null, { result_json: null, ...none }],
  // http by its row, run as a sandbox.
  [
    'http',
    '{"result_json": 1, "stdout": "", "stderr": "", "artifacts": []}',
    { result_json: 1, stdout: '', stderr: '' },
  ],
])('%s: %s', async (executionType, output, expected) => {
  const id = await insertCompleted(executionType, output)
  // As the command line writes it, and as the API does.
  const job: unknown = JSON.parse(JSON.stringify(await readJob(db.admin, id)))
  expect(job).toMatchObject({ outputs: expected })
  const view = await readJobView(db.admin, id)
  expect(JSON.parse(toJson(view))).toMatchObject(Object(job))
  expect(JSON.parse(toJson(view))).toEqual(JSON.parse(JSON.stringify(view)))
})

it.each(['12345678901234567890', '[1.10, 0.00000010]'])(
  'keeps the numbers of %s as they were written',
  async (output) => {
    const id = await insertCompleted('http', output)
    for (const text of [JSON.stringify(await readJob(db.admin, id)), toJson(await readJobView(db.admin, id))])
      expect(text.replaceAll(' ', '')).toContain(`"result_json":${output.replaceAll(' ', '')}`)
  },
)

function insertCompleted(executionType: string, output: string | null): Promise<string> {
  return insertJob(db.admin, { execution_type: executionType, status: 'completed', output_data: output })
}
