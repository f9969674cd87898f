/** The limits of results of jobs hold for numbers here too: beyond, a row would be unreadable once it is written out. */
const MAX_CHARACTERS = 1_000
const MAX_EXPONENT = 10_000

/** A number as YAML or an expression writes it, as JSON and SQL do, with every digit; null for one that neither can hold. */
export function toJsonNumber(source: string): string | null {
  if (/^0[xo][0-9a-f]+$/i.test(source)) return source.length <= 200 ? BigInt(source).toString() : null
  const match = /^([+-]?)0*(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(source)
  if (match === null || source.length > MAX_CHARACTERS) return null
  const [, sign = '', whole = '', fraction = '', exponent = ''] = match
  if (Math.abs(Number(exponent)) > MAX_EXPONENT) return null
  return `${sign === '-' ? '-' : ''}${whole === '' ? '0' : whole}${fraction === '' ? '' : `.${fraction}`}${exponent === '' ? '' : `e${Number(exponent)}`}`
}
