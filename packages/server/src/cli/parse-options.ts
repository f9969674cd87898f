import { ErgonError } from '../platform/errors/ergon-error.ts'
import { parseLossless } from '../platform/text/lossless-json.ts'

/** For commander: an option that may be given several times. */
export const repeat = (value: string, before: string[]): string[] => [...before, value]

/** `NAME=JSON` as a pair; a value that is no JSON is refused, so that a string is never guessed. */
export function parseParameter(text: string): [string, unknown] {
  const at = text.indexOf('=')
  if (at < 1)
    throw new ErgonError(
      'PARAMETER_INVALID',
      `--param ${text}: expected NAME=JSON, for instance --param years=10 or --param 'name="x"'`,
    )
  const value = text.slice(at + 1)
  try {
    return [text.slice(0, at), parseLossless(value)]
  } catch {
    throw new ErgonError(
      'PARAMETER_INVALID',
      `--param ${text}: ${JSON.stringify(value)} is not JSON; a string needs its quotes: --param '${text.slice(0, at)}="${value}"'`,
    )
  }
}

/** `NAME=FILE` as a pair. */
export function parseDataset(text: string): { name: string; file: string } {
  const at = text.indexOf('=')
  if (at < 1 || at === text.length - 1)
    throw new ErgonError(
      'PARAMETER_INVALID',
      `--dataset ${text}: expected NAME=FILE, for instance --dataset co2.csv=data/co2.csv`,
    )
  const name = text.slice(0, at)
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name)) {
    throw new ErgonError(
      'PARAMETER_INVALID',
      `--dataset ${text}: the name ${JSON.stringify(name)} must be letters, digits, dot, dash and underscore, beginning with a letter, digit or underscore`,
    )
  }
  return { name, file: text.slice(at + 1) }
}

/** A number within its range; `what` is the option as the user writes it. */
export function parseNumber(what: string, min: number, max: number, isInteger = true): (text: string) => number {
  return (text) => {
    const value = Number(text)
    const isNumber = text.trim() !== '' && Number.isFinite(value) && (!isInteger || Number.isInteger(value))
    if (isNumber && value >= min && value <= max) return value
    throw new ErgonError(
      'LIMIT_INVALID',
      `${what} is ${JSON.stringify(text)}; expected ${isInteger ? 'a whole number' : 'a number'} from ${min} to ${max}`,
    )
  }
}
