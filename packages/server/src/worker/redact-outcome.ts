import { createReadStream } from 'node:fs'
import { type Redactor, SecretFinder } from '../platform/text/redact.ts'
import { redactJson } from '../platform/text/redact-json.ts'
import type { ProducedArtifact, RunnerOutcome } from '../runners/runner.ts'

/**
 * The outcome without the secrets that the attempt held: in its failure, output, logs and names of files. A file whose
 * bytes hold one is left out with a warning, since a file with other bytes would be another file.
 */
export async function redactOutcome(outcome: RunnerOutcome, redactor: Redactor): Promise<RunnerOutcome> {
  if (redactor.secrets.isEmpty) return outcome
  const { verdict } = outcome
  const logs = outcome.logs.map((log) => ({ ...log, message: redactor.redactCut(log.message) }))
  const artifacts: ProducedArtifact[] = []
  for (const artifact of outcome.artifacts) {
    const name = redactor.redact(artifact.name)
    if (await holdsSecret(artifact, redactor))
      logs.push({ level: 'warn', message: `the file ${JSON.stringify(name)} holds a secret and was not stored` })
    else artifacts.push({ ...artifact, name })
  }
  return {
    ...outcome,
    verdict:
      verdict.kind === 'failed' ? { kind: 'failed', failure: redactFailure(verdict.failure, redactor) } : verdict,
    artifacts,
    logs,
    composeOutput(stored) {
      const json = outcome.composeOutput(stored)
      return json === null ? null : redactJson(json, redactor)
    },
  }
}

type Failure = Extract<RunnerOutcome['verdict'], { kind: 'failed' }>['failure']

/** Runners bound what they quote, so its last words may be a part of a secret. */
export function redactFailure(failure: Failure, redactor: Redactor): Failure {
  const { details } = failure
  const traceback = details?.traceback ?? null
  return {
    ...failure,
    message: redactor.redactCut(failure.message),
    details:
      details === null ? null : { ...details, traceback: traceback === null ? null : redactor.redactCut(traceback) },
  }
}

/** What a log may say of an error that a runner threw: its words without secrets, and none of its other properties. */
export function redactError(error: unknown, redactor: Redactor): unknown {
  if (redactor.secrets.isEmpty) return error
  const { message, stack = '' } = error instanceof Error ? error : new Error(String(error))
  return { message: redactor.redact(message), stack: redactor.redact(stack) }
}

async function holdsSecret({ file }: ProducedArtifact, redactor: Redactor): Promise<boolean> {
  const finder = new SecretFinder(redactor)
  for await (const piece of createReadStream(file.path)) if (finder.push(piece as Buffer)) return true
  return false
}
