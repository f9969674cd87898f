/** Shorter values are found everywhere, so that hiding them would hide everything. */
export const MIN_LENGTH = 6
/** A line of a key file that is as long as this is a secret by itself. */
const MIN_LINE_LENGTH = 16

/** The texts that a value is found by: itself, and what common encoders make of it, alone or within something longer. */
export function formsOf(value: string): string[] {
  const forms = [value, ...jsonOf(value), ...htmlOf(value), ...base64Of(value), ...hexOf(value)]
  if (value.isWellFormed()) forms.push(...percentOf(value))
  if (value.includes('\n')) forms.push(...value.split(/\r?\n/).filter((line) => line.trim().length >= MIN_LINE_LENGTH))
  return [...new Set(forms)].filter((form) => form.length >= MIN_LENGTH)
}

/** As JavaScript writes it, as PHP does, and as Go and others do that keep HTML out. */
function jsonOf(value: string): string[] {
  const plain = JSON.stringify(value).slice(1, -1)
  const unicode = (signs: RegExp, hex: (code: string) => string) =>
    plain.replace(signs, (sign) => `\\u${hex(sign.charCodeAt(0).toString(16).padStart(4, '0'))}`)
  const upper = (code: string) => code.toUpperCase()
  const lower = (code: string) => code
  return [
    plain,
    plain.replaceAll('/', '\\/'),
    unicode(/[<>&]/g, lower),
    unicode(/[<>&'+]/g, upper),
    unicode(/[\u0080-\uffff]/g, lower),
  ]
}

/** The names are the same everywhere; the apostrophe has several, and some leave quotes as they are. */
function htmlOf(value: string): string[] {
  const text = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  const quoted = text.replaceAll('"', '&quot;')
  const numbered = text.replaceAll('"', '&#34;')
  return [
    text,
    quoted,
    ...['&#39;', '&#x27;', '&#039;', '&apos;'].map((sign) => quoted.replaceAll("'", sign)),
    numbered.replaceAll("'", '&#39;'),
  ]
}

/** Encoders differ in the signs that they leave, in case, and in what a blank becomes. */
function percentOf(value: string): string[] {
  const component = encodeURIComponent(value)
  const strict = component.replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
  const form = new URLSearchParams([['', value]]).toString().slice(1)
  const spellings = [component, strict, form, strict.replaceAll('%20', '+'), component.replaceAll('%2F', '/')]
  return [
    ...spellings,
    ...spellings.map((text) => text.replace(/%../g, (code) => code.toLowerCase())),
    ...withinUrl(value),
  ]
}

/** As a path and a query that a value was put into unencoded, such as base_url's. */
function withinUrl(value: string): string[] {
  const url = new URL('http://host/')
  url.pathname = `/${value}`
  url.search = `?${value}`
  return [url.pathname.slice(1), url.search.slice(1)]
}

/** At each of the three places where it may begin in what was encoded, without the signs that its neighbours decide. */
function base64Of(value: string): string[] {
  const bytes = Buffer.from(value)
  return [0, 1, 2].flatMap((before) => {
    const shifted = Buffer.concat([Buffer.alloc(before), bytes])
    const [start, end] = [Math.ceil((before * 8) / 6), Math.floor((shifted.length * 8) / 6)]
    return (['base64', 'base64url'] as const).map((encoding) => shifted.toString(encoding).slice(start, end))
  })
}

function hexOf(value: string): string[] {
  const hex = Buffer.from(value).toString('hex')
  return [hex, hex.toUpperCase()]
}
