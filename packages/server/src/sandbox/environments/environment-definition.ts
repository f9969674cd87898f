import { readFile } from 'node:fs/promises'
import { LineCounter, parseDocument, type Document } from 'yaml'
import { z } from 'zod'
import { ErgonError } from '../../platform/errors/ergon-error.ts'

const debianPackage = z.string().regex(/^[a-z0-9][a-z0-9+.-]+$/, 'is not the name of a Debian package')
const absolutePath = z.string().regex(/^\/[^\s'"\\]+$/, 'is not an absolute path without blanks or quotes')
const pythonModule = z.string().regex(/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/, 'is not the name of a Python module')

/** What `environments/<name>.yaml` may say. */
const environmentDefinitionSchema = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9 and "-", starting with a letter'),
  description: z.string().min(1),
  language: z.enum(['python']),
  interpreter: absolutePath,
  suite: z.string().regex(/^[a-z]+$/, 'is not the name of a Debian suite'),
  packages: z.array(debianPackage).min(1),
  omit: z.array(debianPackage).default([]),
  exclude: z.array(absolutePath).default([]),
  warm_imports: z.array(pythonModule).default([]),
  font_cache: z.enum(['matplotlib']).exactOptional(),
})
export type EnvironmentDefinition = z.infer<typeof environmentDefinitionSchema>

/** Reads a definition; throws ENVIRONMENT_DEFINITION_INVALID that names file, line and column of each fault, at most ten. */
export function parseEnvironmentDefinition(text: string, file: string): EnvironmentDefinition {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false })
  const syntaxFaults = document.errors.map((error) => faultAt(lineCounter, file, error.pos[0], error.message))
  if (syntaxFaults.length > 0) throw invalid(syntaxFaults)

  const parsed = environmentDefinitionSchema.safeParse(readPlain(document, file))
  if (parsed.success) return parsed.data
  throw invalid(
    parsed.error.issues.flatMap((issue) => {
      const paths = issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path]
      return paths.map((path) => {
        const what = issue.code === 'unrecognized_keys' ? 'unknown key' : issue.message
        return faultAt(
          lineCounter,
          file,
          offsetOf(document, path),
          `${path.join('.') || 'the document'}: ${what}${valueSeen(document, path)}`,
        )
      })
    }),
  )
}

/** Reads and checks a definition file; a file that can't be read is ENVIRONMENT_DEFINITION_INVALID too. */
export async function readEnvironmentDefinition(
  file: string,
): Promise<{ definition: EnvironmentDefinition; text: string }> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new ErgonError(
      'ENVIRONMENT_DEFINITION_INVALID',
      `cannot read the environment definition ${file}: ${(cause as Error).message}`,
      { cause },
    )
  }
  return { definition: parseEnvironmentDefinition(text, file), text }
}

/** An alias bomb is refused by the YAML library here, not while parsing. */
function readPlain(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 20 })
  } catch (cause) {
    throw invalid([`${file}: ${(cause as Error).message}`])
  }
}

function invalid(faults: string[]): ErgonError {
  const shown = faults.slice(0, 10)
  const more = faults.length > shown.length ? [`… and ${faults.length - shown.length} more`] : []
  return new ErgonError(
    'ENVIRONMENT_DEFINITION_INVALID',
    ['the environment definition is not valid:', ...shown, ...more].join('\n  '),
  )
}

function faultAt(lineCounter: LineCounter, file: string, offset: number, message: string): string {
  const { line, col } = lineCounter.linePos(offset)
  return `${file}:${line}:${col}: ${message}`
}

/** The offset of a value, of its key when the value is missing, or of the nearest parent that exists. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
    const range = (node as { range?: [number, number, number] | null } | null | undefined)?.range
    if (range) return range[0]
  }
  return 0
}

function valueSeen(document: Document, path: readonly PropertyKey[]): string {
  const value: unknown = path.length === 0 ? undefined : document.getIn(path)
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? ` (found ${JSON.stringify(value)})`
    : ''
}
