import { ARTIFACT_FORMATS, type ArtifactFormat } from '@ergon/contract'
import type { Spool, SpooledFile } from '../../artifacts/spool.ts'
import { checkResultJson } from '../../domain/check-result-json.ts'
import { sniffFile } from '../../sandbox/sniff.ts'
import type { ProducedArtifact } from '../runner.ts'
import { type ReceivedBody, spoolBody } from './receive-body.ts'

/** What of an answer's body goes into output_data, and what leaves as a file. */
export interface DescribedBody {
  /** JSON text; "null" where the body is empty or a file. */
  json: string
  artifact: ProducedArtifact | null
  /** What was not as the server said. */
  remark: string | null
}

/** Bytes that say nothing of themselves are `bin` here. */
const ALL_FORMATS: ReadonlySet<string> = new Set(Object.keys(ARTIFACT_FORMATS).filter((each) => each !== 'binary'))

/** JSON as it was written, text as a string, and everything that is large or neither as a file. */
export async function describeBody(
  received: ReceivedBody,
  contentType: string | null,
  spool: Spool,
): Promise<DescribedBody> {
  if (received.kind === 'file') return describeFile(received.file, contentType)
  const { bytes } = received
  if (bytes.length === 0) return { json: 'null', artifact: null, remark: null }
  const media = readMediaType(contentType)
  if (media.isJson) {
    const text = decodeText(bytes, 'utf-8')
    const problem = checkResultJson(text)
    if (problem === null) return { json: text, artifact: null, remark: null }
    return {
      json: quote(text),
      artifact: null,
      remark: 'the body is not the JSON that it is said to be: taken as text',
    }
  }
  if (media.isText || (media.type === '' && isUtf8Text(bytes)))
    return { json: quote(decodeText(bytes, media.charset)), artifact: null, remark: null }
  return describeFile(await spoolBody(bytes, spool), contentType)
}

/** A file has the format that the server says when its bytes agree, else none: nobody shall open it as what it is not. */
function describeFile(file: SpooledFile, contentType: string | null): DescribedBody {
  const format = formatOf(readMediaType(contentType))
  const name = `body.${format ?? 'bin'}`
  const sniffed = format === null ? null : sniffFile(name, file.head, file.isText, ALL_FORMATS)
  if (sniffed?.ok === true) {
    const { format: seen, width, height } = sniffed.file
    return {
      json: 'null',
      artifact: { name, ...ARTIFACT_FORMATS[seen], format: seen, width, height, file },
      remark: null,
    }
  }
  const unknown = {
    name: 'body.bin',
    kind: 'export',
    format: 'bin',
    contentType: 'application/octet-stream',
    width: null,
    height: null,
    file,
  } as const
  const remark = sniffed === null ? null : `the body is stored as bytes: ${sniffed.detail}`
  return { json: 'null', artifact: unknown, remark }
}

interface MediaType {
  type: string
  charset: string
  isJson: boolean
  isText: boolean
}

const TEXTUAL = /^(text\/.*|application\/(xml|javascript|x-www-form-urlencoded|yaml|x-yaml|graphql|.*\+xml))$/

function readMediaType(contentType: string | null): MediaType {
  const [type = '', ...parameters] = (contentType ?? '').toLowerCase().split(';', 20)
  const charset = parameters
    .map((each) => /^\s*charset\s*=\s*"?([a-z0-9._:-]{1,40})"?\s*$/.exec(each)?.[1])
    .find(Boolean)
  const plain = type.trim()
  return {
    type: plain,
    charset: charset ?? 'utf-8',
    isJson: /^(application|text)\/(json|[a-z0-9.+-]*\+json)$/.test(plain),
    isText: TEXTUAL.test(plain),
  }
}

function formatOf({ type, isJson }: MediaType): ArtifactFormat | null {
  if (isJson) return 'json'
  for (const [format, { contentType }] of Object.entries(ARTIFACT_FORMATS))
    if (contentType === type && ALL_FORMATS.has(format)) return format as ArtifactFormat
  return null
}

function isUtf8Text(bytes: Buffer): boolean {
  try {
    return !new TextDecoder('utf-8', { fatal: true }).decode(bytes).includes('\u0000')
  } catch {
    return false
  }
}

function decodeText(bytes: Buffer, charset: string): string {
  try {
    return new TextDecoder(charset).decode(bytes)
  } catch {
    // A charset that nobody knows.
    return new TextDecoder().decode(bytes)
  }
}

/** As a JSON string that PostgreSQL can hold. */
function quote(text: string): string {
  return JSON.stringify(text.toWellFormed().replaceAll('\u0000', '\uFFFD'))
}
