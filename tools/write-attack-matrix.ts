import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { text } from 'node:stream/consumers'

/** Puts the matrix that it reads (`ergon doctor --attack-matrix --markdown`) into SECURITY.md; a test compares the two. */
const BEGIN = '<!-- attack-matrix: written by tools/write-attack-matrix.ts -->'
const END = '<!-- /attack-matrix -->'

const file = path.join(import.meta.dirname, '../SECURITY.md')
const matrix = await text(process.stdin)
const document = readFileSync(file, 'utf8')
const [before, rest] = document.split(BEGIN)
const after = rest?.split(END)[1]
if (before === undefined || after === undefined) throw new Error(`${file} lacks ${BEGIN} or ${END}`)
if (!matrix.includes('| row |')) throw new Error('standard input is no attack matrix, so SECURITY.md stays as it is')
writeFileSync(file, `${before}${BEGIN}\n${matrix.trimEnd()}\n${END}${after}`)
