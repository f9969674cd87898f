/** The candidate that a mistyped word most likely meant, or undefined when none is near: at most a third of its letters differ. */
export function closestMatch(word: string, candidates: readonly string[]): string | undefined {
  let best: { candidate: string; distance: number } | undefined
  for (const candidate of candidates) {
    // The word may be a megabyte of a hostile payload: what is too long to be near is not measured.
    if (Math.abs(word.length - candidate.length) > tolerance(candidate)) continue
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (best === undefined || distance < best.distance) best = { candidate, distance }
  }
  if (best === undefined) return undefined
  return best.distance <= tolerance(best.candidate) ? best.candidate : undefined
}

function tolerance(candidate: string): number {
  return Math.max(1, Math.ceil(candidate.length / 3))
}

/** Levenshtein distance with a swap of neighbours counted once: the commonest slip of the fingers. */
function editDistance(a: string, b: string): number {
  const width = b.length + 1
  // Row 0 and column 0: one insertion a letter.
  const rows = Array.from({ length: a.length + 1 }, (_, i) => [i, ...Array.from({ length: width - 1 }, () => 0)])
  rows[0] = Array.from({ length: width }, (_, j) => j)
  const at = (i: number, j: number): number => rows[i]?.[j] ?? 0
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const substitution = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const row = rows[i]
      if (row)
        row[j] = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, substitution, isSwap ? at(i - 2, j - 2) + 1 : Infinity)
    }
  }
  return at(a.length, b.length)
}
