import type { Prices } from './provider.ts'

const MB_PER_GB = 1_024
const MS = 1_000

/**
 * US dollars that a call costs by list price: its price, and duration × memory. An estimate: no free tier, discount,
 * CPU price, traffic or other architecture is in it.
 */
export function estimateCost(
  prices: Prices,
  { durationMs, memoryMb }: { durationMs: number; memoryMb: number },
): number {
  const gbSeconds = (durationMs / MS) * (memoryMb / MB_PER_GB)
  // Ten digits after the point tell a millisecond of the smallest function.
  return Number((prices.perCall + gbSeconds * prices.perGbSecond).toFixed(10))
}
