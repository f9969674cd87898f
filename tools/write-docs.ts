import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { renderErrorsDoc } from './render-errors-doc.ts'

/** Writes the documents that are generated from code. */
await writeFile(path.join(import.meta.dirname, '../docs/errors.md'), renderErrorsDoc())
