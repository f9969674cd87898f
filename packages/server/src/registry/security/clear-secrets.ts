import { hasReference } from '../references.ts'
import type { Service } from '../schema/service.ts'
import type { Risk } from './find-risks.ts'

/** Keys whose literal value is a secret, whatever it looks like. */
const SECRET_NAME =
  /(^|[_-])(authorization|cookie|passwo?r?d|passwd|secret|token|api[_-]?key|apikey|access[_-]?key|private[_-]?key|credentials?)([_-]|$)/i
/** Texts that are secrets wherever they stand: key formats of common providers, private keys, passwords in URLs. */
const SECRET_TEXT =
  /-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(AKIA|ASIA)[A-Z0-9]{16}\b|\b(sk|rk|pk)_(live|test)_[A-Za-z0-9]{8,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abprs]-[\w-]{10,}|\bAIza[\w-]{30,}|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.|:\/\/[^/\s:@]+:[^/\s@$]+@/
const NAMES_A_SECRET = /_(env_var|file|vault)$/

/** Secrets that stand in the registry itself. Their texts are never repeated. */
export function findClearSecrets(service: Service): Risk[] {
  const risks: Risk[] = []
  const visit = (value: unknown, path: PropertyKey[]): void => {
    if (Array.isArray(value)) for (const [index, item] of value.entries()) visit(item, [...path, index])
    else if (typeof value === 'object' && value !== null) {
      for (const [key, item] of Object.entries(value)) visit(item, [...path, key])
    } else if (typeof value === 'string' && isClearSecret(value, String(path.at(-1)))) {
      risks.push({ rule: 'secret-in-clear', severity: 'high', path, message: 'looks like a secret, written out' })
    }
  }
  visit(service.runner_config, ['runner_config'])
  visit(service.security_policy, ['security_policy'])
  return risks
}

/** Whether a text has the form of a provider's key, a private key or a password in a URL. */
export function looksLikeSecret(text: string): boolean {
  return SECRET_TEXT.test(text)
}

function isClearSecret(text: string, key: string): boolean {
  if (looksLikeSecret(text)) return true
  return SECRET_NAME.test(key) && !NAMES_A_SECRET.test(key) && text.length > 0 && !hasReference(text)
}
