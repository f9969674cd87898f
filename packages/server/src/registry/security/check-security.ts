import { placeAt } from '../../platform/yaml/located-yaml.ts'
import type { ParsedRegistry } from '../parse-registry.ts'
import type { RegistryFault } from '../registry-fault.ts'
import { findRisks } from './find-risks.ts'
import { SECURITY_RULES, type SecurityRule, SEVERITIES, type Severity } from './rule-catalogue.ts'

/** One finding of `ergon security-check`. */
export interface SecurityFinding extends RegistryFault {
  rule: SecurityRule
  severity: Severity
  /** Null for what concerns the file. */
  service: string | null
  explanation: string
  fix: string
}

/** Every risk of a registry, the worst first; `mode` is the file's, as stat gives it. Faults are findings too. */
export function checkSecurity(parsed: ParsedRegistry, mode: number): SecurityFinding[] {
  const findings = new Map<string, SecurityFinding>()
  const add = (rule: SecurityRule, severity: Severity, service: string | null, fault: RegistryFault): void => {
    const { explanation, fix } = SECURITY_RULES[rule]
    // A service of the base comes again for each profile that does not change it.
    const key = `${rule} ${fault.line} ${fault.column} ${fault.message}`
    if (!findings.has(key)) findings.set(key, { rule, severity, service, ...fault, explanation, fix })
  }
  const wholeFile = { file: parsed.file, line: 1, column: 1, path: '' }
  if ((mode & 0o022) !== 0)
    add('registry-writable', 'high', null, {
      ...wholeFile,
      message: `users other than the owner can write it (mode ${(mode & 0o777).toString(8)})`,
    })
  for (const fault of parsed.faults) add('refused-config', 'high', null, fault)
  for (const { service, source } of parsed.readable) {
    for (const { rule, severity, path, message } of findRisks(service)) {
      add(rule, severity, service.name, parsed.faultAt(placeAt(source, path), message))
    }
  }
  return [...findings.values()].toSorted(
    (a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) || a.line - b.line || a.column - b.column,
  )
}
