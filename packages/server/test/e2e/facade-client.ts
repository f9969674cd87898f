import { type ExecuteAnswer, executeAnswerSchema } from '@ergon/contract'

/** The address in the line that `ergon dev --json` prints. */
export function apiUrlOf(line: unknown): string {
  if (typeof line === 'object' && line !== null && 'apiUrl' in line) return String(line.apiUrl)
  throw new Error(`no apiUrl in ${JSON.stringify(line)}`)
}

export interface Executed {
  httpStatus: number
  answer: ExecuteAnswer
}

/** `POST /execute/python` as its clients call it. The answer is checked against its schema, whatever its status. */
export async function execute(
  url: string,
  request: unknown,
  headers: Record<string, string> = {},
  signal: AbortSignal | null = null,
): Promise<Executed> {
  const response = await fetch(`${url}/execute/python`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof request === 'string' ? request : JSON.stringify(request),
    signal,
  })
  return { httpStatus: response.status, answer: executeAnswerSchema.parse(await response.json()) }
}
