import { PROFILE_RULES } from '../../domain/profiles.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import type { ParsedRegistry, RegistryProfile } from '../parse-registry.ts'
import type { RegistryFault } from '../registry-fault.ts'
import { checkSecurity } from './check-security.ts'
import { SECURITY_RULES } from './rule-catalogue.ts'

export interface RiskQuestion {
  parsed: ParsedRegistry
  /** The file's rights, as stat gives them. */
  mode: number
  profile: RegistryProfile
  /** Services of other types are not looked at: no worker of this question runs them. */
  executionTypes: readonly string[]
  /** Rules whose findings somebody has decided to live with. */
  acceptedRisks: readonly string[]
}

/**
 * What `ergon security-check` calls high, for the services that a worker would run: refused in production, told in
 * staging, left to the command in development. Isolation is the same in all of them.
 */
export function judgeRisks(question: RiskQuestion): { faults: RegistryFault[]; warnings: RegistryFault[] } {
  const { parsed, profile, acceptedRisks } = question
  const wholeFile = { file: parsed.file, line: 1, column: 1, path: '' }
  const unknown = acceptedRisks
    .filter((rule) => !Object.hasOwn(SECURITY_RULES, rule))
    .map((rule) => ({ ...wholeFile, message: `ERGON_ACCEPTED_RISKS names ${rule}, which is no rule${suggest(rule)}` }))
  const { highFindings } = PROFILE_RULES[profile]
  const refused = acceptedRisks
    .filter((rule) => isNeverAccepted(rule, profile))
    .map((rule) => ({
      ...wholeFile,
      message: `ERGON_ACCEPTED_RISKS names ${rule}, which nobody may accept in ${profile}`,
    }))
  const wrong = [...unknown, ...refused]
  if (highFindings === 'not looked at') return { faults: wrong, warnings: [] }
  const found = findRisks(question).map(({ rule, file, line, column, path, message, fix }) => ({
    ...{ file, line, column, path },
    message: `${rule}: ${message}. ${fix}${isNeverAccepted(rule, profile) ? '' : ` Or accept it with ERGON_ACCEPTED_RISKS=${rule}`}`,
  }))
  return highFindings === 'refused'
    ? { faults: [...wrong, ...found], warnings: [] }
    : { faults: wrong, warnings: found }
}

function findRisks({ parsed, mode, profile, executionTypes, acceptedRisks }: RiskQuestion) {
  const readable = [...parsed.profiles[profile].values()].filter(({ service }) =>
    executionTypes.includes(service.execution_type),
  )
  return checkSecurity({ ...parsed, readable }, mode).filter(
    ({ severity, rule }) => severity === 'high' && (!acceptedRisks.includes(rule) || isNeverAccepted(rule, profile)),
  )
}

function isNeverAccepted(rule: string, profile: RegistryProfile): boolean {
  const never: readonly string[] = PROFILE_RULES[profile].neverAccepted
  return never.includes(rule)
}

function suggest(rule: string): string {
  const similar = closestMatch(rule, Object.keys(SECURITY_RULES))
  return similar === undefined ? '; docs/security-check.md lists them' : `; did you mean ${similar}?`
}
