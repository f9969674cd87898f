/** What a benchmark of this folder gives back: one number with its spread, and what it is compared with. */
export interface Figure {
  /** Stable id, the same with --quick. */
  figure: string
  /** Median over the repetitions. */
  value: number
  unit: string
  /** Smallest and largest repetition. */
  min: number
  max: number
  /** A floor or peer measured in the same run, in the same unit; null where there is none. */
  reference: { name: string; value: number } | null
  /** What `value / reference.value` (or the value itself, without a reference) should be; null: nothing is promised. */
  target: { comparison: '<=' | '>='; bound: number } | null
}

export interface BenchContext {
  /** Repeat less; every figure is still there. */
  isQuick: boolean
  /** How many jobs to run where that is the question; undefined: the benchmark's own choice. */
  jobs: number | undefined
  /** Tells a person what is going on; goes to standard error. */
  progress: (text: string) => void
}

/** The default export of each `bench/<name>.ts`. */
export interface Benchmark {
  /** One sentence: what it measures. */
  description: string
  run: (context: BenchContext) => Promise<Figure[]>
}

/** Milliseconds of each repetition, after warm-up runs that are not counted. */
export async function measure(
  work: (repetition: number) => Promise<unknown> | void,
  options: { warmUps: number; repetitions: number },
): Promise<number[]> {
  for (let i = 0; i < options.warmUps; i++) await work(-1 - i)
  const samplesMs: number[] = []
  for (let i = 0; i < options.repetitions; i++) {
    const startedMs = performance.now()
    await work(i)
    samplesMs.push(performance.now() - startedMs)
  }
  return samplesMs
}

/** Measures several kinds of work in turn, round by round, so that a slow moment of the machine hits all of them alike. */
export async function measureInterleaved<Name extends string>(
  kinds: Readonly<Record<Name, (repetition: number) => Promise<unknown> | void>>,
  options: { warmUps: number; repetitions: number },
): Promise<Record<Name, number[]>> {
  const names = Object.keys(kinds) as Name[]
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>
  for (const name of names) await measure(kinds[name], { warmUps: options.warmUps, repetitions: 0 })
  for (let i = 0; i < options.repetitions; i++) {
    for (const name of names)
      samples[name].push(...(await measure(() => kinds[name](i), { warmUps: 0, repetitions: 1 })))
  }
  return samples
}

/** The figure of a list of samples. Throws on an empty list: a benchmark that measured nothing must not look like one that did. */
export function figureOf(
  figure: string,
  samples: readonly number[],
  unit: string,
  options: { reference?: { name: string; value: number }; target?: Figure['target'] } = {},
): Figure {
  if (samples.length === 0) throw new Error(`the figure ${figure} has no samples`)
  return {
    figure,
    value: median(samples),
    unit,
    min: Math.min(...samples),
    max: Math.max(...samples),
    reference: options.reference ?? null,
    target: options.target ?? null,
  }
}

export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** value ÷ reference, or null where nothing is compared. */
export function ratioOf(figure: Figure): number | null {
  return figure.reference === null ? null : figure.value / figure.reference.value
}

/** Whether a target is met; null where there is none. */
export function isMet(figure: Figure): boolean | null {
  if (figure.target === null) return null
  const compared = ratioOf(figure) ?? figure.value
  return figure.target.comparison === '<=' ? compared <= figure.target.bound : compared >= figure.target.bound
}
