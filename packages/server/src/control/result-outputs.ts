import type { JobResult } from '@ergon/contract'
import { isLosslessNumber } from '../platform/text/lossless-json.ts'

/** What output_data of a sandboxed job is made of; its own result is one of the parts. */
const COMPOSED = new Set(['result_json', 'stdout', 'stderr', 'artifacts'])
const STREAMS = new Set(['stdout', 'stderr'])

/**
 * The envelope's outputs from a row's output_data: result_json is what a sandboxed program left as its result, and for
 * every other type all of the output but the streams, which have places of their own.
 */
export function toResultOutputs(executionType: string, output: unknown): JobResult['outputs'] {
  if (typeof output !== 'object' || output === null || Array.isArray(output) || isLosslessNumber(output))
    return { result_json: output ?? null, stdout: null, stderr: null }
  const entries = Object.entries(output)
  const streams = { stdout: textOf(output, 'stdout'), stderr: textOf(output, 'stderr') }
  if (executionType === 'sandbox' || isComposed(entries))
    return { result_json: 'result_json' in output ? output.result_json : null, ...streams }
  return { result_json: Object.fromEntries(entries.filter(([key]) => !STREAMS.has(key))), ...streams }
}

/** A row may carry another execution type than the registry, which was obeyed: then the output tells. */
function isComposed(entries: readonly [string, unknown][]): boolean {
  return entries.length === COMPOSED.size && entries.every(([key]) => COMPOSED.has(key))
}

function textOf(output: object, key: 'stdout' | 'stderr'): string | null {
  const value: unknown = Object.entries(output).find(([name]) => name === key)?.[1]
  return typeof value === 'string' ? value : null
}
