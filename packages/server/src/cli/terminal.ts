import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Colour where the stream is a terminal that wants it (NO_COLOR is honoured), plain text elsewhere. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout })
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

/** One line on standard error that shows that something goes on; nothing at all where that is no terminal. */
export class Spinner {
  readonly #isShown = process.stderr.isTTY
  #timer: NodeJS.Timeout | null = null
  #frame = 0
  #text = ''

  show(text: string): void {
    this.#text = text
    if (!this.#isShown || this.#timer !== null) return
    this.#timer = setInterval(() => {
      this.#frame = (this.#frame + 1) % FRAMES.length
      process.stderr.write(`\r\u001b[2K${FRAMES[this.#frame]} ${this.#text}`)
    }, 80)
  }

  /** Clears the line, so that other text can be written. */
  hide(): void {
    if (this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
    process.stderr.write('\r\u001b[2K')
  }
}

/** Rows as aligned columns, the first row being the heading. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return `${lines.join('\n')}\n`
}

/** A duration as a person reads it; `ms` in milliseconds. */
export function formatMs(ms: number | null): string {
  if (ms === null) return '–'
  return ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(2)} s`
}

/** A size in bytes as a person reads it. */
export function formatBytes(bytes: number): string {
  if (bytes < 1_024) return `${bytes} B`
  return bytes < 1_048_576 ? `${(bytes / 1_024).toFixed(1)} KiB` : `${(bytes / 1_048_576).toFixed(1)} MiB`
}
