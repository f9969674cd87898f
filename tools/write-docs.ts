import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { publishRegistrySchema } from '../packages/server/src/registry/published-schema.ts'
import { renderCommandsDoc } from './render-commands-doc.ts'
import { renderErrorsDoc } from './render-errors-doc.ts'
import { renderOpenApi } from './render-openapi.ts'
import { renderSecurityRulesDoc } from './render-security-rules-doc.ts'
import { renderSettingsDoc } from './render-settings-doc.ts'

/** Writes the documents that are generated from code. */
const docs = path.join(import.meta.dirname, '../docs')
await writeFile(path.join(docs, 'errors.md'), renderErrorsDoc())
await writeFile(path.join(docs, 'settings.md'), renderSettingsDoc())
await writeFile(path.join(docs, 'commands.md'), renderCommandsDoc())
await writeFile(path.join(docs, 'security-check.md'), renderSecurityRulesDoc())
await writeFile(path.join(docs, 'registry.schema.json'), `${JSON.stringify(publishRegistrySchema(), null, 2)}\n`)
await writeFile(path.join(docs, 'openapi.json'), await renderOpenApi())
