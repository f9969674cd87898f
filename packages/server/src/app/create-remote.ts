import { ErgonClient } from '@ergon/client'
import type { JobControl } from '../control/job-control.ts'
import { parseExact } from '../platform/text/lossless-json.ts'
import { createRemoteControl } from '../remote/remote-control.ts'

/** A person waits: a wrong address is told soon, and a server that starts again is waited for. */
const RETRIES = 3

/** The jobs of a server. */
export function createRemote(serverUrl: string, token: string): { client: ErgonClient; control: JobControl } {
  const client = new ErgonClient({ url: serverUrl, token, retries: RETRIES, parseJson: parseExact })
  return { client, control: createRemoteControl(client) }
}
