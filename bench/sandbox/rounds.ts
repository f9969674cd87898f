import { type Figure, figureOf } from '../bench.ts'

/** Measures each kind once a round, in turn, so that a slow moment of the machine hits all alike; the first round warms up. */
export async function inTurn<Name extends string>(
  rounds: number,
  kinds: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(kinds) as Name[]
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>
  for (let round = -1; round < rounds; round++) {
    for (const name of names) {
      const sample = await kinds[name]()
      if (round >= 0) samples[name].push(sample)
    }
  }
  return samples
}

/** The ratio of each round's two measurements: what disturbs one disturbs its neighbour. */
export function ratioFigure(
  figure: string,
  samples: readonly number[],
  references: readonly number[],
  target: NonNullable<Figure['target']>,
): Figure {
  const ratios = samples.map((sample, round) => sample / (references[round] ?? Number.NaN))
  return figureOf(figure, ratios, 'x', { target })
}

/** The sample that 99 % of all do not exceed. */
export function percentile99(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[Math.ceil(samples.length * 0.99) - 1] ?? Number.NaN
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now()
  await work()
  return performance.now() - startedMs
}
