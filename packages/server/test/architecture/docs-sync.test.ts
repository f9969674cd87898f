import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { renderCommandsDoc } from '../../../../tools/render-commands-doc.ts'
import { renderErrorsDoc } from '../../../../tools/render-errors-doc.ts'
import { renderOpenApi } from '../../../../tools/render-openapi.ts'
import { renderSecurityRulesDoc } from '../../../../tools/render-security-rules-doc.ts'
import { renderSettingsDoc } from '../../../../tools/render-settings-doc.ts'
import { NOT_ENFORCED_YET } from '../../src/registry/field-support.ts'
import { publishRegistrySchema } from '../../src/registry/published-schema.ts'
import { ERROR_CATALOGUE } from '../../src/platform/errors/error-catalogue.ts'

const docs = path.join(import.meta.dirname, '../../../../docs')

test.each([
  ['errors.md', renderErrorsDoc],
  ['settings.md', renderSettingsDoc],
  ['commands.md', renderCommandsDoc],
  ['security-check.md', renderSecurityRulesDoc],
  ['registry.schema.json', () => `${JSON.stringify(publishRegistrySchema(), null, 2)}\n`],
  ['openapi.json', renderOpenApi],
])('docs/%s tells what the code does; `npm run docs` writes it', async (name, render) => {
  expect(await readFile(path.join(docs, name), 'utf8')).toBe(await render())
})

test.each(Object.entries(ERROR_CATALOGUE))('%s has a summary that is a sentence', (_code, entry) => {
  expect(entry.summary).toMatch(/^[A-Z].+\.$/)
})

test.each(Object.entries(NOT_ENFORCED_YET))(
  'docs/registry.md says what is not enforced for %s',
  async (type, fields) => {
    const listed = (fields ?? []).map((field) => `\`${field}\``).join(', ')
    const row = fields === null ? `| ${type} | none yet | |` : `| ${type} | yes | ${listed} |`
    expect(await readFile(path.join(docs, 'registry.md'), 'utf8')).toContain(`${row}\n`)
  },
)
