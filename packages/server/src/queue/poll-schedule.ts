const FIRST_DELAYS_MS = [5, 10, 20, 50]
const LATER_DELAY_MS = 100

/**
 * How long an idle worker waits before its next look, in ms, after `looks` looks that found nothing. `random` in [0, 1)
 * spreads workers that fell asleep together by a quarter to each side.
 */
export function delayBeforeLook(looks: number, random: number): number {
  return (FIRST_DELAYS_MS[looks] ?? LATER_DELAY_MS) * (0.75 + random / 2)
}
