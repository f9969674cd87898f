import { expect, it } from 'vitest'
import { splitCommand } from './split-command.ts'

it.each([
  ['a b  c', ['a', 'b', 'c']],
  ["sh -c 'echo $HOME; true'", ['sh', '-c', 'echo $HOME; true']],
  ['a "" b\'c d\'e', ['a', '', 'bc de']],
  ['a;b|c $(d) `e` \\n *', ['a;b|c', '$(d)', '`e`', '\\n', '*']],
  ['', []],
  ['a "b', null],
])('%j', (text, words) => {
  expect(splitCommand(text)).toEqual(words)
})
