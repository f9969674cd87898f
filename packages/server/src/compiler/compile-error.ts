import { ErgonError } from '../platform/errors/ergon-error.ts'
import { faultText, type RegistryFault } from '../registry/registry-fault.ts'

const MAX_SHOWN = 50

/** Entity files that cannot be compiled; the message lists every fault with file, line, column and path, at most fifty. */
export class CompileError extends ErgonError {
  readonly faults: readonly RegistryFault[]

  constructor(faults: readonly RegistryFault[]) {
    const count = faults.length === 1 ? 'is one fault' : `are ${faults.length} faults`
    const more = faults.length > MAX_SHOWN ? [`… and ${faults.length - MAX_SHOWN} more`] : []
    const shown = faults.slice(0, MAX_SHOWN).map(faultText)
    super('ENTITY_INVALID', [`nothing was compiled, there ${count}:`, ...shown, ...more].join('\n  '))
    this.faults = faults
  }
}
