import { digestSchema, type Failure } from '@ergon/contract'
import { z } from 'zod'
import { describeIssues } from '../../platform/text/describe-issues.ts'
import { validationFailure } from '../sandboxed/read-payload.ts'
import { FILE_NAME, misnamed } from '../sandboxed/resolve-inputs.ts'
import type { ShellConfig } from './shell-config.ts'

const MAX_SCRIPT = 262_144
const MAX_ARGUMENTS = 250
/** As JSON text, so that a request fits into one message of sandboxd. */
const MAX_ARGUMENT_BYTES = 32_768

/** What one call of a shell service may say; strict, so that a variable or an option of the sandbox is an error by name. */
const callSchema = z.strictObject({
  command: z.exactOptional(z.string().min(1).max(4_096)),
  shell: z.exactOptional(z.boolean()),
  script: z.exactOptional(z.string().min(1).max(MAX_SCRIPT)),
  args: z.array(z.string()).max(MAX_ARGUMENTS).default([]),
  working_directory: z.exactOptional(z.string().min(1).max(4_096)),
  files: z
    .array(z.strictObject({ name: z.string(), text: z.string() }))
    .max(500)
    .default([]),
  datasets: z
    .array(z.strictObject({ digest: digestSchema, name: z.exactOptional(z.string()) }))
    .max(500)
    .default([]),
})

/** A call that asks for nothing its service's policy forbids; whether its command may run is for find-command. */
export interface ShellCall {
  /** The command itself, or the shell that runs `script`. */
  command: string
  script: string | null
  args: readonly string[]
  folder: string | null
  files: readonly { name: string; text: string }[]
  datasets: readonly { digest: string; name?: string | undefined }[]
}

export type CallReading = { ok: true; call: ShellCall } | { ok: false; failure: Failure }

/** Reads input_data, whose depth and size were bounded before any runner saw it. */
export function readCall(inputJson: string | null, config: ShellConfig): CallReading {
  const parsed = callSchema.safeParse(JSON.parse(inputJson ?? '{}'))
  if (!parsed.success) {
    return invalid(`input_data of a shell service is {command, args, …}: ${describeIssues(parsed.error.issues)}`)
  }
  const { command, shell = false, script = null, args, working_directory: folder = null, files, datasets } = parsed.data
  if ((command === undefined) === (script === null)) return invalid('needs command or script, and only one of them')
  if (shell !== (script !== null)) {
    return invalid(
      script === null
        ? 'shell: true goes with script; a command is started without a shell'
        : 'script needs shell: true beside it',
    )
  }
  const bytes = Buffer.byteLength(JSON.stringify(args))
  if (bytes > MAX_ARGUMENT_BYTES)
    return invalid(`args has ${bytes} bytes as JSON, at most ${MAX_ARGUMENT_BYTES} are taken: hand over a file`)
  const nul = args.findIndex((arg) => arg.includes('\0'))
  if (nul >= 0) return invalid(`args/${nul} holds a NUL character, which no argument can`)
  if (config.fileAccess === 'none' && files.length + datasets.length > 0)
    return refuse('FILE_ACCESS_DENIED', "the service's file_access is none, so it takes neither files nor datasets")
  const wrong = files.find(({ name }) => !FILE_NAME.test(name))
  if (wrong !== undefined) return misnamed('file name', wrong.name)
  const twice = files.find(({ name }, index) => files.findIndex((other) => other.name === name) !== index)
  if (twice !== undefined) return refuse('INPUT_NAME_INVALID', `two files are called ${JSON.stringify(twice.name)}`)
  return { ok: true, call: { command: command ?? config.shell, script, args, folder, files, datasets } }
}

function invalid(message: string): CallReading {
  return refuse('INPUT_INVALID', message)
}

function refuse(code: string, message: string): CallReading {
  return { ok: false, failure: validationFailure(code, message) }
}
