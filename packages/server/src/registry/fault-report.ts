import { makeVisible } from '../platform/text/sanitise-output.ts'
import { lineFinder, pathText, type Place } from '../platform/yaml/located-yaml.ts'
import type { RegistryFault } from './registry-fault.ts'

/** Beyond this nobody reads on. */
const MAX_FAULTS = 1_000
const MAX_LINE = 1_000

/** Collects faults and warnings, each once: a service of the base is looked at for every profile that changes it. */
export class FaultReport {
  readonly #lineOf: ReturnType<typeof lineFinder>
  readonly #file: string
  readonly #faults = new Map<string, RegistryFault>()
  readonly #warnings = new Map<string, RegistryFault>()

  constructor(text: string, file: string) {
    this.#lineOf = lineFinder(text)
    this.#file = file
  }

  get isClean(): boolean {
    return this.#faults.size === 0
  }

  fault(at: Place, message: string): void {
    if (this.#faults.size > MAX_FAULTS) return
    if (this.#faults.size === MAX_FAULTS)
      message = `and here the list ends: only the first ${MAX_FAULTS} faults are told`
    this.#faults.set(`${at.offset} ${pathText(at)} ${message}`, this.at(at, message))
  }

  warn(at: Place, message: string): void {
    this.#warnings.set(`${at.offset} ${message}`, this.at(at, message))
  }

  /** In the order of the file. */
  get faults(): RegistryFault[] {
    return inOrder(this.#faults.values())
  }

  get warnings(): RegistryFault[] {
    return inOrder(this.#warnings.values())
  }

  /** A place of the file as a fault there. */
  at(place: Place, message: string): RegistryFault {
    // Keys and values of the file are in both, and a terminal obeys what they may hold.
    const [path, words] = [oneLine(pathText(place)), oneLine(message)]
    return { file: this.#file, ...this.#lineOf(place.offset), path, message: words }
  }
}

function inOrder(faults: Iterable<RegistryFault>): RegistryFault[] {
  return [...faults].toSorted((a, b) => a.line - b.line || a.column - b.column)
}

function oneLine(text: string): string {
  return makeVisible(text)
    .replace(/[\t\r\n\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\uFFFD')
    .slice(0, MAX_LINE)
}
