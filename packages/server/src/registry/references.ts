/** `${NAME}`, its escape `$${`, or something that looks like a reference and is none. */
const REFERENCE = /\$\$\{|\$\{([^}]{0,200})(\}?)/g
/** What the operating system and every shell take as a variable's name. */
export const VARIABLE_NAME: RegExp = /^[A-Za-z_][A-Za-z0-9_]{0,199}$/

/** Says what is wrong with a text's references, or null. */
export function findBrokenReference(text: string): string | null {
  for (const match of text.matchAll(REFERENCE)) {
    const [whole, name, end] = match
    if (name === undefined) continue
    if (end !== '}' || !VARIABLE_NAME.test(name)) {
      return `"${whole.slice(0, 60)}" is no reference: write \${NAME}, without a default, or $\${ for a literal \${`
    }
  }
  return null
}

/** The variables that a text names, each once. */
export function referencedVariables(text: string): string[] {
  const names = [...text.matchAll(REFERENCE)].flatMap(([, name]) => (name === undefined ? [] : [name]))
  return [...new Set(names)]
}

export function hasReference(text: string): boolean {
  return referencedVariables(text).length > 0
}

/** The text with every reference replaced; what a variable holds is never looked at for references again. */
export function expandReferences(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(REFERENCE, (whole: string, name: string | undefined) =>
    name === undefined ? '${' : (variables.get(name) ?? whole),
  )
}
