import { readFile } from 'node:fs/promises'
import { ARTIFACT_FORMATS } from '@ergon/contract'
import { Spool, type SpooledFile, type SpoolWriter } from '../../artifacts/spool.ts'
import { checkResultJson } from '../../domain/check-result-json.ts'
import type { ByteSink, SandboxObserver } from '../../sandbox/sandbox.ts'
import { SNIFF_BYTES, sniffFile } from '../../sandbox/sniff.ts'
import type { CollectedOutputs, OutputCollector } from './runtime-adapter.ts'

/** Receives a sandbox's files into the spool and checks each against the formats the job may leave. */
export class SandboxOutputs implements SandboxObserver, OutputCollector {
  readonly onOutput: SandboxObserver['onOutput']
  readonly #spool: Spool
  readonly #allowedFormats: ReadonlySet<string>
  readonly #files: { name: string; file: SpooledFile }[] = []
  #result: SpooledFile | null = null
  #open: SpoolWriter | null = null

  constructor(spoolFolder: string, allowedFormats: readonly string[], onOutput: SandboxObserver['onOutput']) {
    this.#spool = new Spool(spoolFolder)
    this.#allowedFormats = new Set(allowedFormats)
    this.onOutput = onOutput
  }

  onStarted(): void {}

  async openResult(): Promise<ByteSink> {
    return this.#openSink(0, (file) => {
      this.#result = file
    })
  }

  async openArtifact(name: string): Promise<ByteSink> {
    return this.#openSink(SNIFF_BYTES, (file) => {
      this.#files.push({ name, file })
    })
  }

  async collect(): Promise<CollectedOutputs> {
    const outputs: CollectedOutputs = {
      resultJson: null,
      resultProblem: null,
      artifacts: [],
      violations: [],
    }
    for (const { name, file } of this.#files) {
      const sniffed = sniffFile(name, file.head, file.isText, this.#allowedFormats)
      if (!sniffed.ok) {
        outputs.violations.push({ path: name, code: sniffed.code, detail: sniffed.detail })
        continue
      }
      const { format, width, height } = sniffed.file
      outputs.artifacts.push({
        name,
        ...ARTIFACT_FORMATS[format],
        format,
        width,
        height,
        file,
      })
    }
    if (this.#result !== null) {
      const text = this.#result.isText ? await readFile(this.#result.path, 'utf8') : null
      outputs.resultProblem =
        text === null
          ? {
              code: 'RESULT_NOT_JSON',
              message: 'result.json is not UTF-8 text.',
            }
          : checkResultJson(text)
      if (outputs.resultProblem === null) outputs.resultJson = text
    }
    return outputs
  }

  async abandon(): Promise<void> {
    await this.#open?.abandon()
  }

  async #openSink(headBytes: number, onFinished: (file: SpooledFile) => void): Promise<ByteSink> {
    const writer = await this.#spool.create(headBytes)
    this.#open = writer
    return {
      write: (chunk) => writer.write(chunk),
      finish: async () => {
        onFinished(await writer.finish())
        this.#open = null
      },
    }
  }
}
