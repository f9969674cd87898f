import { existsSync } from 'node:fs'
import path from 'node:path'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import { findInstallLocation } from '../install-location.ts'

export interface Example {
  name: string
  description: string
  folder: string
}

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  commerce: 'an order from its payment to its invoice, stock export and thumbnail, by compiled call_service steps',
}

/** The examples that `ergon examples run` knows, wherever this installation has them. */
export function listExamples(): Example[] {
  const { examples } = findInstallLocation()
  return Object.entries(DESCRIPTIONS).map(([name, description]) => ({
    name,
    description,
    folder: path.join(examples, name),
  }))
}

/** Throws EXAMPLE_NOT_FOUND for a name that is none, and where the files were not installed. */
export function requireExample(name: string): Example {
  const examples = listExamples()
  const example = examples.find((each) => each.name === name)
  if (example === undefined) {
    const names = examples.map((each) => each.name)
    const similar = closestMatch(name, names)
    throw new ErgonError(
      'EXAMPLE_NOT_FOUND',
      `there is no example ${JSON.stringify(name)}${similar === undefined ? '.' : `; did you mean "${similar}"?`} Examples: ${names.join(', ')}`,
    )
  }
  if (existsSync(example.folder)) return example
  throw new ErgonError(
    'EXAMPLE_NOT_FOUND',
    `the files of the example ${name} are not installed: ${example.folder} does not exist. Install @ergon/server anew, or run the command in a checkout`,
  )
}
