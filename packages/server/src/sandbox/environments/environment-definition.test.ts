import path from 'node:path'
import { expect, test } from 'vitest'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { parseEnvironmentDefinition, readEnvironmentDefinition } from './environment-definition.ts'

const valid = [
  'name: tiny',
  'description: Python alone',
  'language: python',
  'interpreter: /usr/bin/python3',
  'suite: bookworm',
  'packages:',
  '  - python3',
]

function messageOf(lines: readonly string[]): string {
  try {
    parseEnvironmentDefinition(lines.join('\n'), 'tiny.yaml')
  } catch (error) {
    if (error instanceof ErgonError && error.code === 'ENVIRONMENT_DEFINITION_INVALID') return error.message
    throw error
  }
  return 'accepted'
}

test('optional lists are empty by default', () => {
  expect(parseEnvironmentDefinition(valid.join('\n'), 'tiny.yaml')).toEqual({
    name: 'tiny',
    description: 'Python alone',
    language: 'python',
    interpreter: '/usr/bin/python3',
    suite: 'bookworm',
    packages: ['python3'],
    omit: [],
    exclude: [],
    warm_imports: [],
  })
})

test('the environment that the repository ships is valid', async () => {
  const file = path.join(import.meta.dirname, '../../../../../environments/python-sci.yaml')
  const { definition } = await readEnvironmentDefinition(file)
  expect(definition.packages).toContain('python3-numpy')
})

test.each([
  ['a wrong value', valid.with(2, 'language: cobol'), 'tiny.yaml:3:11: language:'],
  ['the value seen', valid.with(2, 'language: cobol'), '(found "cobol")'],
  ['an unknown key', [...valid, 'colour: red'], 'tiny.yaml:8:9: colour: unknown key (found "red")'],
  ['an item of a list', [...valid, '  - "rm -rf /"'], 'tiny.yaml:8:5: packages.1: is not the name of a Debian package'],
  ['a quote in a path', [...valid, 'exclude: ["/a\'b"]'], 'tiny.yaml:8:11: exclude.0: is not an absolute path'],
  ['a missing key', valid.toSpliced(4, 1), 'tiny.yaml:1:1: suite:'],
  ['broken YAML', ['name: [tiny'], 'tiny.yaml:1:'],
  ['no mapping at all', ['42'], 'tiny.yaml:1:1: the document:'],
  ['an empty file', [''], 'tiny.yaml:1:1: the document:'],
  ['a duplicate key', [...valid, 'suite: trixie'], 'tiny.yaml:8:1: Map keys must be unique'],
])('%s is told with its place', (_name, lines, part) => {
  expect(messageOf(lines)).toContain(part)
})

test('an alias bomb is refused', () => {
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]', 'b: &b [*a,*a,*a,*a,*a,*a,*a,*a]', 'c: [*b,*b,*b,*b,*b,*b,*b,*b]']
  expect(messageOf(bomb)).toContain('alias')
})

test('at most ten faults are told', () => {
  const many = [...valid, ...Array.from({ length: 30 }, () => '  - "!"')]
  expect(messageOf(many).split('\n')).toHaveLength(12)
})

test('a file that is not there is told by its name', async () => {
  await expect(readEnvironmentDefinition('/nowhere/x.yaml')).rejects.toMatchObject({
    code: 'ENVIRONMENT_DEFINITION_INVALID',
    message: expect.stringContaining('/nowhere/x.yaml') as unknown,
  })
})
