import { type Located, type Place } from '../../platform/yaml/located-yaml.ts'
import { explainUnknown } from '../../registry/explain-issues.ts'
import type { FaultReport } from '../../registry/fault-report.ts'

/** A text with its place. */
export interface Word {
  text: string
  at: Place
}

/** Takes the keys of a mapping one by one and tells of each that has a wrong value, is missing or that nobody asked for. */
export class MapReader {
  readonly at: Place
  readonly #entries: Extract<Located, { kind: 'map' }>['entries']
  readonly #report: FaultReport
  readonly #known = new Set<string>()

  /** Null, and a fault, where the node is no mapping. */
  static open(node: Located, what: string, report: FaultReport): MapReader | null {
    if (node.kind === 'map') return new MapReader(node, report)
    report.fault(node.at, `${what} is a mapping`)
    return null
  }

  private constructor(node: Extract<Located, { kind: 'map' }>, report: FaultReport) {
    this.at = node.at
    this.#entries = node.entries
    this.#report = report
  }

  /** The value of a key; null where it is absent or empty. */
  node(key: string): Located | null {
    this.#known.add(key)
    const value = this.#entries.get(key)?.value
    return value === undefined || (value.kind === 'scalar' && value.value === null) ? null : value
  }

  keyAt(key: string): Place {
    return this.#entries.get(key)?.keyAt ?? this.at
  }

  word(key: string): Word | null {
    const node = this.node(key)
    if (node === null) return null
    if (node.kind === 'scalar' && typeof node.value === 'string') return { text: node.value, at: node.at }
    this.#report.fault(node.at, 'must be text')
    return null
  }

  required(key: string, what: string): Word | null {
    if (this.node(key) !== null) return this.word(key)
    this.#report.fault(this.at, `${what} missing required field '${key}'`)
    return null
  }

  /** A whole number, or one with a fraction, within its bounds. */
  number(key: string, { min, max, isWhole }: { min: number; max: number; isWhole: boolean }): number | null {
    const node = this.node(key)
    if (node === null) return null
    const value = node.kind === 'scalar' && typeof node.value === 'number' ? node.value : Number.NaN
    if (value >= min && value <= max && (!isWhole || Number.isInteger(value))) return value
    this.#report.fault(node.at, `must be a ${isWhole ? 'whole ' : ''}number from ${min} to ${max}`)
    return null
  }

  /** One of several words; null where it is absent. */
  choice<Choice extends string>(key: string, choices: readonly Choice[]): Choice | null {
    const word = this.word(key)
    if (word === null) return null
    const found = choices.find((choice) => choice === word.text)
    if (found === undefined)
      this.#report.fault(
        word.at,
        `must be one of: ${choices.join(', ')} (found ${JSON.stringify(word.text.slice(0, 40))})`,
      )
    return found ?? null
  }

  list(key: string): readonly Located[] {
    const node = this.node(key)
    if (node === null) return []
    if (node.kind === 'list') return node.items
    this.#report.fault(node.at, 'must be a list')
    return []
  }

  /** The keys and values of a mapping below a key. */
  entries(key: string): [string, { keyAt: Place; value: Located }][] {
    const node = this.node(key)
    if (node === null) return []
    if (node.kind === 'map') return [...node.entries]
    this.#report.fault(node.at, 'must be a mapping')
    return []
  }

  has(key: string): boolean {
    return this.#entries.has(key)
  }

  keys(): string[] {
    return [...this.#entries.keys()]
  }

  /** Once everything is read: whatever else is there is a fault. */
  finish(): void {
    for (const [key, { keyAt }] of this.#entries) {
      if (!this.#known.has(key)) this.#report.fault(keyAt, explainUnknown(key, [...this.#known]))
    }
  }
}
