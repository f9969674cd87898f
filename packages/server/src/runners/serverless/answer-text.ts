import type { Failure } from '@ergon/contract'
import { checkResultJson } from '../../domain/check-result-json.ts'

/** A function's answer as JSON text that can be stored, or why it cannot be. Nothing at all is null. */
export function readAnswer(bytes: Uint8Array, isJson: boolean): { json: string } | Failure {
  const text = decode(bytes)
  if (text === null) return refusal('RESULT_NOT_TEXT', 'it is not UTF-8 text')
  if (text.trim() === '') return { json: 'null' }
  const json = isJson ? text : JSON.stringify(text)
  const problem = checkResultJson(json)
  return problem === null ? { json } : refusal(problem.code, problem.message.replace(/^result\.json:? ?/, ''))
}

function decode(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return null
  }
}

function refusal(code: string, problem: string): Failure {
  const message = `The function's answer cannot be stored: ${problem}`
  return { category: 'USER_CODE_ERROR', code, message, evidence: null, details: null }
}
