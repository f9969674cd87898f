import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { renderErrorsDoc } from '../../../../tools/render-errors-doc.ts'
import { ERROR_CATALOGUE } from '../../src/platform/errors/error-catalogue.ts'

const docs = path.join(import.meta.dirname, '../../../../docs')

test('docs/errors.md tells the catalogue; `npm run docs` writes it', async () => {
  expect(await readFile(path.join(docs, 'errors.md'), 'utf8')).toBe(renderErrorsDoc())
})

test.each(Object.entries(ERROR_CATALOGUE))('%s has a summary that is a sentence', (_code, entry) => {
  expect(entry.summary).toMatch(/^[A-Z].+\.$/)
})
