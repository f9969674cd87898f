import { closestMatch } from '../../platform/text/closest-match.ts'
import type { FaultReport } from '../../registry/fault-report.ts'
import { operationNotFound, serviceNotFound } from '../../registry/service-registry.ts'
import type { CallStep } from '../entity/entity.ts'
import type { CompiledOperation, CompiledService } from './plan.ts'

/** Services by their names in lower case. */
export type Services = ReadonlyMap<string, CompiledService>

/** The operation a step calls; null, and a fault, where the registry has none of that name. Case does not count. */
export function findOperation(services: Services, step: CallStep, report: FaultReport): CompiledOperation | null {
  const service = services.get(step.service.text.toLowerCase())
  if (service === undefined) {
    const names = [...services.values()].map(({ checked }) => checked.service.name)
    report.fault(step.service.at, withHint(serviceNotFound(step.service.text, names).message, step.service.text, names))
    return null
  }
  const { operations, name } = service.checked.service
  const index = operations.findIndex((each) => each.name.toLowerCase() === step.operation.text.toLowerCase())
  const [operation, schemas] = [operations[index], service.checked.schemas[index]]
  if (operation !== undefined && schemas !== undefined) return { service, operation, schemas }
  const names = operations.map((each) => each.name)
  report.fault(
    step.operation.at,
    withHint(operationNotFound(step.operation.text, name, names).message, step.operation.text, names),
  )
  return null
}

function withHint(message: string, word: string, names: readonly string[]): string {
  const similar = closestMatch(word, names)
  return similar === undefined ? message : `${message}; did you mean "${similar}"?`
}
