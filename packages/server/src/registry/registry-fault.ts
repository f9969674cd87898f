import { ErgonError } from '../platform/errors/ergon-error.ts'

/** One thing that is wrong, or odd, at one place of a registry file. */
export interface RegistryFault {
  file: string
  /** Both from 1. */
  line: number
  column: number
  /** `services.0.runner_config.base_url`; empty for the whole file. */
  path: string
  message: string
}

const MAX_SHOWN = 50

/** A registry that cannot be used; its message lists every fault, at most fifty. */
export class RegistryError extends ErgonError {
  readonly faults: readonly RegistryFault[]

  constructor(
    code: 'REGISTRY_INVALID' | 'REGISTRY_NOT_FOUND' | 'REGISTRY_EMPTY',
    message: string,
    faults: readonly RegistryFault[] = [],
  ) {
    super(
      code,
      [
        message,
        ...faults.slice(0, MAX_SHOWN).map(faultText),
        ...(faults.length > MAX_SHOWN ? [`… and ${faults.length - MAX_SHOWN} more`] : []),
      ].join('\n  '),
    )
    this.faults = faults
  }
}

/** `file:line:column: path: message`, as editors and terminals link it. */
export function faultText({ file, line, column, path, message }: RegistryFault): string {
  return `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`
}
