import { readFileSync } from 'node:fs'
import path from 'node:path'

const DOCUMENT = path.join(import.meta.dirname, '../../../../docs/client.md')

/** A file that docs/client.md shows whole, between fences that name it. */
export function documentedFile(name: string): string {
  const document = readFileSync(DOCUMENT, 'utf8')
  const [, text] =
    new RegExp(`^\`\`\`\\w+ file=${name.replaceAll('.', '\\.')}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(document) ?? []
  if (text === undefined) throw new Error(`docs/client.md has no ${name}`)
  return text
}

/** The program of a documented page. */
export function scriptOf(page: string): string {
  const [, text] = /<script type="module">\n([\s\S]*?)<\/script>/.exec(page) ?? []
  if (text === undefined) throw new Error('the page has no module')
  return text
}
