/** Shorter values are found everywhere, so that hiding them would hide everything. */
export const MIN_LENGTH = 6
/** A line of a key file that is as long as this is a secret by itself. */
const MIN_LINE_LENGTH = 16

/** Of a form in a file this much proves it. */
const MAX_BYTES = 512

/**
 * The texts that a value is found by: itself, what common encoders make of it, alone or within something longer, and what
 * they make of each other's work, as a gateway does that puts a page into JSON, and that into base64.
 */
export function formsOf(value: string): string[] {
  const once = [value, ...jsonOf(value), ...htmlOf(value), ...base64Of(value), ...hexOf(value), ...wideOf(value)]
  if (value.isWellFormed()) once.push(...percentOf(value))
  const forms = [...once, ...twiceOf(value)]
  if (value.includes('\n')) forms.push(...value.split(/\r?\n/).filter((line) => line.trim().length >= MIN_LINE_LENGTH))
  return [...new Set(forms)].filter((form) => form.length >= MIN_LENGTH)
}

/** How a form stands in a file, each byte one sign: as UTF-8 and as UTF-16 in both orders. */
export function bytesOf(form: string): string[] {
  const little = Buffer.from(form, 'utf16le')
  // In the other order; what only the neighbours decide is left off, so that most need no form of their own.
  const big = Buffer.from(little).swap16()
  const wide = [little, big].map((bytes) => bytes.toString('latin1').replace(/^\0|\0$/g, ''))
  return [Buffer.from(form).toString('latin1'), ...wide].map((bytes) => bytes.slice(0, MAX_BYTES))
}

/** Encodings of encodings: of the plainest one of each kind, and of all that base64 may begin with. */
function twiceOf(value: string): string[] {
  const plain = JSON.stringify(value).slice(1, -1)
  const percent = value.isWellFormed() ? [encodeURIComponent(value), formEncode(value)] : []
  const once = [plain, ...percent, ...htmlOf(value).slice(0, 2), ...base64Of(value), ...hexOf(value).slice(0, 1)]
  return [...new Set(once)].flatMap((form) => {
    const json = JSON.stringify(form).slice(1, -1)
    const outer = [json, json.replaceAll('/', '\\/'), ...base64Of(form), ...hexOf(form)]
    if (!form.isWellFormed()) return outer
    const component = encodeURIComponent(form)
    return [...outer, component, component.replace(/%../g, (code) => code.toLowerCase())]
  })
}

/** UTF-16 that was taken for UTF-8, with what this project shows in place of NUL; and in base64, as shells of Windows want it. */
function wideOf(value: string): string[] {
  const little = Buffer.from(value, 'utf16le')
  const big = Buffer.from(little).swap16()
  const spaced = ['\u0000', '\u2400', '\uFFFD', '\\u0000'].map((gap) => value.split('').join(gap))
  return [...spaced, ...base64OfBytes(little), ...base64OfBytes(big)]
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
  const form = formEncode(value)
  const spellings = [component, strict, form, strict.replaceAll('%20', '+'), component.replaceAll('%2F', '/')]
  return [
    ...spellings,
    ...spellings.map((text) => text.replace(/%../g, (code) => code.toLowerCase())),
    ...withinUrl(value),
  ]
}

function formEncode(value: string): string {
  return new URLSearchParams([['', value]]).toString().slice(1)
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
  return base64OfBytes(Buffer.from(value))
}

function base64OfBytes(bytes: Buffer): string[] {
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
