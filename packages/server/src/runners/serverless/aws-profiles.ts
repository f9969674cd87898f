/**
 * Reads an AWS credentials or config file: `[name]` or `[profile name]`, then `key = value`. The SDK reads such files
 * from disk, where the worker's user has none; here the text was handed over, and nothing but keys and roles is used.
 */
export function parseProfiles(text: string): Map<string, Map<string, string>> {
  const profiles = new Map<string, Map<string, string>>()
  let current: Map<string, string> | null = null
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*(?:profile\s+)?([^\]]+?)\s*\]/.exec(line)?.[1]
    if (section !== undefined) {
      current = profiles.get(section) ?? new Map()
      profiles.set(section, current)
      continue
    }
    // Nested settings are indented, and none of them signs in.
    const [, key, value] = /^([A-Za-z0-9_]+)\s*=\s*(.*?)\s*$/.exec(line) ?? []
    if (key !== undefined && value !== undefined) current?.set(key.toLowerCase(), value.replace(/\s+[#;].*$/, ''))
  }
  return profiles
}
