/**
 * `attachment` with a file name (RFC 6266, RFC 8187), whatever the name: it comes from untrusted code. What is not plain ASCII
 * is told twice, the readable way for old clients and exactly, percent-encoded, for all others.
 */
export function attachmentOf(name: string): string {
  const safe = fileNameOf(name)
  const plain = safe.replaceAll(/[^\x20-\x7e]/g, '_').replaceAll(/["\\%]/g, '_')
  return plain === safe
    ? `attachment; filename="${plain}"`
    : `attachment; filename="${plain}"; filename*=UTF-8''${encode(safe)}`
}

/** The last component of a path of any system, without what changes how a name is shown; never empty, hidden or a folder. */
function fileNameOf(name: string): string {
  const last = name.toWellFormed().split(/[/\\]/).at(-1) ?? ''
  const shown = last.replaceAll(/[\p{Cc}\p{Bidi_Control}\u2028\u2029<>:"|?*]/gu, '_').replace(/^[. ]+/, '')
  return shown.slice(0, 120).toWellFormed() || 'artifact'
}

/** encodeURIComponent leaves five characters that RFC 8187 does not. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /['()*!]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

const MEDIA_TYPE = /^[a-z0-9][a-z0-9.+-]{0,63}\/[a-z0-9][a-z0-9.+-]{0,63}$/

/** The media type as it was recorded, if it is one: then also nothing but one. */
export function contentTypeOf(recorded: string): string {
  return MEDIA_TYPE.test(recorded) ? recorded : 'application/octet-stream'
}
