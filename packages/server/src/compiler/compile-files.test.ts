import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { compileFiles, type CompileRequest } from './compile-files.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'ergon-compile-'))
  await writeFile(path.join(folder, 'registry.yaml'), REGISTRY)
  await writeFile(path.join(folder, 'draw.py'), 'print(1)\n')
  await writeFile(path.join(folder, 'order.yaml'), ORDER)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const REGISTRY = `services:
  - {name: mail, type: a, category: b, operations: [{name: send}], runner_config: {base_url: "https://example.org"}}
  - name: draw
    type: a
    category: b
    execution_type: sandbox
    operations: [{name: invoice}]
    runner_config: {environment: python-sci, script: draw.py}
production:
  services: [{name: mail, runner_config: {base_url: "https://production.example.org"}}]
`
const ORDER = `entity: Order
schema: commerce
fields: {note: text}
actions: [{name: act, steps: [{call_service: {service: mail, operation: send, input: {note: $order.note}}}, {call_service: {service: draw, operation: invoice}}]}]
`

const request = (changes: Partial<CompileRequest> = {}): CompileRequest => ({
  entities: [path.join(folder, 'order.yaml')],
  registry: path.join(folder, 'registry.yaml'),
  profile: 'development',
  version: '1',
  kind: 'functions',
  out: null,
  isCheck: false,
  ...changes,
})

it('the services of the profile count, with the programs that they name', async () => {
  const [development] = await compileFiles(request())
  const [production] = await compileFiles(request({ profile: 'production' }))
  expect(development?.text).toContain('"https://example.org"')
  expect(production?.text).toContain('"https://production.example.org"')
  await writeFile(path.join(folder, 'draw.py'), 'print(2)\n')
  const [changed] = await compileFiles(request())
  expect(changed?.text).not.toBe(development?.text)
})

it('a file named twice is one, and nothing is left beside what is written', async () => {
  const out = path.join(folder, 'out')
  const twice = request({ out })
  await compileFiles({ ...twice, entities: [...twice.entities, ...twice.entities] })
  await compileFiles(twice)
  expect(await readdir(out)).toEqual(['commerce.order.sql'])
  expect((await compileFiles({ ...twice, isCheck: true })).map(({ name }) => name)).toEqual(['commerce.order.sql'])
  const [file] = await compileFiles(request())
  expect(await readFile(path.join(out, 'commerce.order.sql'), 'utf8')).toBe(file?.text)
})

it('is the same in whatever order and however often the files are named', async () => {
  const offer = path.join(folder, 'offer.yaml')
  await writeFile(offer, ORDER.replace('Order', 'Offer').replace('act,', 'offer,').replace('order.', 'offer.'))
  const [order = ''] = request().entities
  for (const kind of ['functions', 'types'] as const) {
    const forwards = await compileFiles(request({ kind, entities: [order, offer] }))
    const backwards = await compileFiles(
      request({ kind, entities: [offer, `${folder}/../${path.basename(folder)}/offer.yaml`, order] }),
    )
    expect(backwards).toEqual(forwards)
  }
})

it('a file that came of an entity that is gone is told with what to do', async () => {
  const out = path.join(folder, 'left')
  await compileFiles(request({ out }))
  const offer = path.join(folder, 'offer2.yaml')
  await writeFile(offer, ORDER.replace('Order', 'Offer').replace('order.', 'offer.'))
  await expect(compileFiles(request({ out, entities: [offer], isCheck: true }))).rejects.toThrow(
    'commerce.order.sql was compiled from a file that is not among these: name that one too, or delete this one',
  )
})

it('nothing is written where there is a fault', async () => {
  const wrong = path.join(folder, 'wrong.yaml')
  await writeFile(wrong, ORDER.replace('order.note', 'order.nte').replace('Order', 'Offer'))
  const out = path.join(folder, 'nothing')
  const compiled = compileFiles(request({ entities: [...request().entities, wrong], out }))
  await expect(compiled).rejects.toMatchObject({ code: 'ENTITY_INVALID', exitCode: 2 })
  await expect(readdir(out)).rejects.toThrow('ENOENT')
})

it.each<[string, () => Promise<Partial<CompileRequest>> | Partial<CompileRequest>, string]>([
  ['FILE_UNREADABLE', () => ({ entities: ['/not/there.yaml'] }), '/not/there.yaml'],
  ['FILE_UNREADABLE', () => ({ entities: [folder] }), 'not a regular file'],
  [
    'FILE_UNREADABLE',
    () => {
      const pipe = path.join(folder, 'pipe.yaml')
      execFileSync('mkfifo', [pipe])
      return { entities: [pipe] }
    },
    'not a regular file',
  ],
  [
    'FILE_UNREADABLE',
    async () => {
      const latin = path.join(folder, 'latin.yaml')
      await writeFile(latin, Buffer.from([0x61, 0x3a, 0xe9]))
      return { entities: [latin] }
    },
    'latin.yaml',
  ],
  [
    'ENTITY_INVALID',
    async () => {
      const large = path.join(folder, 'large.yaml')
      await writeFile(large, '#'.repeat(1_100_000))
      return { entities: [large] }
    },
    'at most 1048576 are read',
  ],
  ['FILE_UNWRITABLE', () => ({ out: path.join(folder, 'registry.yaml') }), 'registry.yaml'],
  ['COMPILED_STALE', () => ({ out: path.join(folder, 'none'), isCheck: true }), 'commerce.order.sql is missing'],
  ['REGISTRY_NOT_FOUND', () => ({ registry: null }), 'ERGON_REGISTRY'],
  ['REGISTRY_NOT_FOUND', () => ({ registry: '/not/there.yaml' }), '/not/there.yaml'],
  [
    'REGISTRY_INVALID',
    async () => {
      const registry = path.join(folder, 'other.yaml')
      await writeFile(registry, REGISTRY.replace('draw.py', 'missing.py'))
      return { registry }
    },
    'the script cannot be used',
  ],
])('%s', async (code, changes, words) => {
  const compiled = compileFiles(request(await changes()))
  await expect(compiled).rejects.toMatchObject({ code, message: expect.stringContaining(words) })
})
