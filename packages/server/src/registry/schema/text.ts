import { isIP } from 'node:net'
import { z } from 'zod'
import { findBrokenReference, hasReference, VARIABLE_NAME } from '../references.ts'
import { findReferenceProblem } from '../secrets/secret-providers.ts'

const MAX_TEXT = 8_192

/** Any text of a configuration; `${NAME}` in it becomes the variable's value in the worker's memory. */
export const configText = z
  .string()
  .max(MAX_TEXT, `is longer than ${MAX_TEXT} characters`)
  .refine((text) => !text.includes('\u0000'), 'holds a NUL character')
  .superRefine((text, context) => {
    const broken = findBrokenReference(text)
    if (broken !== null) context.addIssue({ code: 'custom', message: broken })
  })

/** A text that must pass a check; one with a reference is checked after it is expanded. */
export function checkedText(check: (text: string) => boolean, message: string) {
  return configText.refine((text) => hasReference(text) || check(text), message)
}

/** Names that rows, logs and URLs carry: no reference, no blank, no sign that SQL or a shell gives a meaning. */
export const nameText = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_.-]{0,99}$/, 'must be 1 to 100 letters, digits, "_", "-" or ".", beginning with a letter')

/** The name of a variable or file that holds a secret: the secret itself never stands in the registry. */
export const variableName = z
  .string()
  .regex(VARIABLE_NAME, 'must be the name of an environment variable, not a value: letters, digits and "_"')
export const secretFile = z
  .string()
  .max(4_096)
  .regex(/^\/[^\u0000-\u001f$]+$/, 'must be the absolute path of a file that holds the secret')
/** The name of a secret in a store of the operator's, after the provider that keeps it. */
export const vaultReference = z
  .string()
  .max(1_024)
  .superRefine((text, context) => {
    const problem = findReferenceProblem(text)
    if (problem !== null) context.addIssue({ code: 'custom', message: problem })
  })
  .describe('PROVIDER:NAME of a secret: exec:NAME or vault:MOUNT/PATH#FIELD')

export const absolutePath = checkedText(
  (text) => text.startsWith('/') && !text.split('/').includes('..') && !/[\u0000-\u001f]/.test(text),
  'must be an absolute path without ".."',
)
export const httpUrl = checkedText((text) => {
  const url = URL.parse(text)
  return url !== null && (url.protocol === 'http:' || url.protocol === 'https:')
}, 'must be a URL that begins with https:// or http://')
export const networkRange = z
  .string()
  .refine(isNetworkRange, 'must be a network as ADDRESS/PREFIX, for instance 10.1.2.0/24')
/** A host name, or with `*.` before it every name below it. */
export const domainPattern = checkedText(
  (text) =>
    /^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(text) ||
    isIP(text) !== 0 ||
    text === '*',
  'must be a host name, or "*." and a host name for all below it',
)
/** An environment of sandboxes; not to be confused with the variables of a process. */
export const sandboxEnvironment = checkedText(
  (text) => /^[a-z][a-z0-9-]{0,62}(@[0-9a-f]{64})?$/.test(text),
  'must be an environment, NAME or NAME@DIGEST',
)
export const environmentMap = z.record(
  z.string().regex(VARIABLE_NAME, 'must be the name of an environment variable'),
  configText,
)
export const headerMap = z.record(
  z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, 'must be the name of an HTTP header'),
  checkedText((text) => !/[\r\n]/.test(text), 'must not hold a line break'),
)
/** Seconds, at most a day. */
export const seconds = z.number().min(0.1).max(86_400)

function isNetworkRange(text: string): boolean {
  const [address = '', prefix = '', ...rest] = text.split('/')
  const version = isIP(address)
  return version !== 0 && rest.length === 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128)
}
