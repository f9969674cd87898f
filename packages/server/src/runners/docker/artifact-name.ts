const MAX_NAME_BYTES = 200

/**
 * Why a name must not leave a container, or null: the same rule that sandboxd has for names (collect.py). Visible
 * UTF-8 without a leading dot or dash, no separator, no control, format or unassigned character.
 */
export function nameProblem(name: string): 'BAD_NAME' | null {
  const isBad =
    name === '' ||
    Buffer.byteLength(name) > MAX_NAME_BYTES ||
    /^[.-]/.test(name) ||
    /[/\\]/.test(name) ||
    // U+FFFD stands for bytes that were no UTF-8.
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}\ufffd]/u.test(name)
  return isBad ? 'BAD_NAME' : null
}

/** A bounded ASCII rendering of a name that may be anything. */
export function printableName(name: string): string {
  const bytes = Buffer.from(name).subarray(0, MAX_NAME_BYTES)
  return [...bytes]
    .map((byte) =>
      byte >= 0x20 && byte < 0x7f && byte !== 0x5c
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, '0')}`,
    )
    .join('')
}
