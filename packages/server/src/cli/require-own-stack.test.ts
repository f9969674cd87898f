import type { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { createProgram } from './program.ts'
import { requireOwnStack } from './require-own-stack.ts'

const leaves = (command: Command): Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)
const pathOf = (command: Command): string =>
  command.parent?.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name()
const commands = leaves(createProgram()).map((command) => ({ command, name: pathOf(command) }))

/** Without a line here a new command works with the stack of this machine alone. */
const ELSEWHERE = /^(run|call|(jobs|artifacts|services) .+|validate-config|security-check|compile)$/

describe('while ERGON_URL names a server', () => {
  test.each(commands)('$name knows where it works', ({ command, name }) => {
    const attempt = () => requireOwnStack(command, { ERGON_URL: 'https://h', ERGON_TOKEN: 't' })
    if (ELSEWHERE.test(name)) expect(attempt).not.toThrow()
    else expect(attempt).toThrow(`\`ergon ${name.split(' ')[0]}\` works with the stack of this machine`)
  })
})

test.each(commands)('$name works without a server', ({ command }) => {
  expect(() => requireOwnStack(command, { ERGON_URL: '', ERGON_TOKEN: 't' })).not.toThrow()
})

test('the token stays for those alone that ask the server', () => {
  const left = (name: string, env: NodeJS.ProcessEnv) => {
    const found = commands.find((each) => each.name === name)
    if (found !== undefined) requireOwnStack(found.command, env)
    return env['ERGON_TOKEN']
  }
  expect(left('run', { ERGON_URL: 'https://h', ERGON_TOKEN: 't' })).toBe('t')
  expect(left('run', { ERGON_TOKEN: 't' })).toBeUndefined()
  expect(left('worker', { ERGON_TOKEN: 't' })).toBeUndefined()
  expect(left('validate-config', { ERGON_URL: 'https://h', ERGON_TOKEN: 't' })).toBeUndefined()
})
