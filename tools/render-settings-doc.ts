import { PROFILE_RULES, type ProfileRules, PROFILES } from '../packages/server/src/domain/profiles.ts'
import { SETTING_SUMMARIES, SETTING_VARIABLES } from '../packages/server/src/config/setting-catalogue.ts'

/** docs/settings.md, from the settings that the code reads. */
export function renderSettingsDoc(): string {
  const rows = (Object.keys(SETTING_VARIABLES) as (keyof typeof SETTING_VARIABLES)[]).map(
    (key) => `| \`${SETTING_VARIABLES[key]}\` | ${SETTING_SUMMARIES[key]} |`,
  )
  return [
    '# Settings',
    '',
    'Written by `npm run docs`. A flag of the command line comes before the environment, the environment before the default;',
    '`ergon doctor` shows each value and where it came from. An empty variable counts as absent.',
    '',
    '| variable | meaning |',
    '| --- | --- |',
    ...rows,
    '',
    '## Profiles',
    '',
    'All that `ERGON_PROFILE` changes beside the section of the registry that counts. What a sandbox is made of, what a service may reach and what is recorded is the same in each.',
    '',
    `| | ${PROFILES.join(' | ')} |`,
    `| --- |${' --- |'.repeat(PROFILES.length)}`,
    ...profileRows(),
    '',
  ].join('\n')
}

function profileRows(): string[] {
  const row = (name: string, cell: (rules: ProfileRules) => string) =>
    `| ${name} | ${PROFILES.map((profile) => cell(PROFILE_RULES[profile])).join(' | ')} |`
  const limits = Object.keys(PROFILE_RULES.development.executorLimits) as (keyof ProfileRules['executorLimits'])[]
  return [
    row('required settings', ({ required }) =>
      required.map(({ setting, by, why }) => `\`${SETTING_VARIABLES[setting]}\` (${by}): ${why}`).join('; '),
    ),
    row('log level', ({ logLevel }) => logLevel),
    row('findings of high severity of `ergon security-check`, at the start of workers', (rules) => rules.highFindings),
    row('rules that `ERGON_ACCEPTED_RISKS` may not name', ({ neverAccepted }) => neverAccepted.join(', ')),
    row('`ergon dev` makes a key for audit seals', ({ makesSigningKey }) => (makesSigningKey ? 'yes' : 'no')),
    ...limits.map((name) => row(`ceiling of \`executor\`: \`${name}\``, (rules) => String(rules.executorLimits[name]))),
  ]
}
