const REPLACEMENT = '\uFFFD'

/**
 * Turns a stream of hostile bytes into text that any terminal, browser and PostgreSQL can hold: invalid UTF-8 becomes
 * U+FFFD, control characters (NUL and ESC among them) their visible pictures; newline, carriage return and tab stay.
 * The same code serves live output and the stored text. Keeps at most three bytes between calls.
 */
export class OutputSanitiser {
  readonly #decoder = new TextDecoder('utf-8', {
    fatal: false,
    ignoreBOM: true,
  })

  push(chunk: Uint8Array): string {
    return makeVisible(this.#decoder.decode(chunk, { stream: true }))
  }

  /** What an unfinished character at the very end becomes. */
  end(): string {
    return makeVisible(this.#decoder.decode())
  }
}

/** The same for text that is text already, such as an exception's message: lone surrogates become U+FFFD too. */
export function makeVisible(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this is about
  return text.toWellFormed().replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g, (character) => {
    const code = character.charCodeAt(0)
    if (code < 0x20) return String.fromCharCode(0x2400 + code)
    return code === 0x7f ? '\u2421' : REPLACEMENT
  })
}
