export interface StepNote {
  /** What was seen, in one line. */
  detail: string
  /** Where to look at it, commands or files. */
  look: readonly string[]
  /** Ids of what the step made, for programs. */
  ids?: Readonly<Record<string, string>>
}

export interface ExampleStep {
  name: string
  /** Why it cannot be tried here, and what to do about it; null when it can. */
  leftOut?: string | null
  /** Throws where something is not as it must be. */
  run(): Promise<StepNote>
}

export interface StepReport extends StepNote {
  step: string
  outcome: 'held' | 'failed' | 'left_out'
}

/**
 * Runs steps one after the other; what follows one that failed is left out. Each is told as it ends. Throws the signal's
 * reason once it is given.
 */
export async function runSteps(
  steps: readonly ExampleStep[],
  onReport: (report: StepReport) => void,
  signal: AbortSignal,
): Promise<StepReport[]> {
  const reports: StepReport[] = []
  for (const step of steps) {
    const failed = reports.find(({ outcome }) => outcome === 'failed')
    const leftOut = failed === undefined ? (step.leftOut ?? null) : `"${failed.step}" failed`
    const report = leftOut === null ? await runStep(step) : leaveOut(step, leftOut)
    signal.throwIfAborted()
    reports.push(report)
    onReport(report)
  }
  return reports
}

async function runStep(step: ExampleStep): Promise<StepReport> {
  try {
    return { step: step.name, outcome: 'held', ...(await step.run()) }
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    return { step: step.name, outcome: 'failed', detail, look: ['ergon jobs list', 'ergon callbacks list'] }
  }
}

function leaveOut({ name }: ExampleStep, detail: string): StepReport {
  return { step: name, outcome: 'left_out', detail, look: [] }
}

/** Throws, as a step does that did not hold. */
export function requireThat(isTrue: boolean, otherwise: string): asserts isTrue {
  if (!isTrue) throw new Error(otherwise)
}
