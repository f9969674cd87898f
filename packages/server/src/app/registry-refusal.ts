import { rm, writeFile } from 'node:fs/promises'
import type { Refusal } from '../conformance/case-report.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { gatherRegistry } from '../registry/registry-bundle.ts'
import { faultText, RegistryError } from '../registry/registry-fault.ts'
import { REGISTRY_EXECUTION_TYPES } from '../registry/schema/service.ts'

/** Why a registry is not taken, read from a file of that name as whoever starts a worker reads it; null when it is. */
export async function refusalOf(text: string, file: string): Promise<Refusal | null> {
  await writeFile(file, text, { mode: 0o600 })
  try {
    await gatherRegistry({ file, profile: 'development', env: {}, executionTypes: REGISTRY_EXECUTION_TYPES })
    return null
  } catch (error) {
    // A message shows some of the faults; here all of them count.
    if (error instanceof RegistryError)
      return { code: error.code, message: [error.message, ...error.faults.map(faultText)].join('\n') }
    if (error instanceof ErgonError) return { code: error.code, message: error.message }
    throw error
  } finally {
    await rm(file)
  }
}
