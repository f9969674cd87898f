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
  ].join('\n')
}
