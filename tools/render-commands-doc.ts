import { createProgram } from '../packages/server/src/cli/program.ts'

type Command = ReturnType<typeof createProgram>

const WIDTH = 100

/** docs/commands.md: each command's own --help. */
export function renderCommandsDoc(): string {
  const sections = leaves(createProgram()).map(
    (command) => `## ${pathOf(command)}\n\n\`\`\`\n${helpOf(command)}\n\`\`\`\n`,
  )
  return [
    '# Commands',
    '',
    'Written by `npm run docs` from each command’s `--help`. With `--json` an error before a job exists is one object',
    '`{error: {category, code, message}}`; [errors.md](errors.md) has the codes and their exit statuses.',
    '',
    ...sections,
  ].join('\n')
}

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}

/** Help with the texts after it, at a width that does not depend on the terminal. */
function helpOf(command: Command): string {
  let text = ''
  command.configureOutput({
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => WIDTH,
    getOutHasColors: () => false,
  })
  command.outputHelp()
  return text.trimEnd()
}
