import { SECURITY_RULES, type SecurityRule } from '../packages/server/src/registry/security/rule-catalogue.ts'

/** docs/security-check.md, from the rules that the check applies. */
export function renderSecurityRulesDoc(): string {
  const rows = (Object.keys(SECURITY_RULES) as SecurityRule[]).map((id) => {
    const { severities, explanation, fix } = SECURITY_RULES[id]
    return `| \`${id}\` | ${severities.join(', ')} | ${explanation} | ${fix} |`
  })
  return [
    '# Rules of the security check',
    '',
    'Written by `npm run docs`. `ergon security-check FILE` reads a service registry and names what it allows and had better not;',
    'it ends with status 1 when a finding is of high severity. Ids are never reused.',
    '',
    '| rule | severity | why | what to do |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
}
