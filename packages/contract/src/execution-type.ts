/** Execution types this build can name; which of them have a runner is the runner registry's business. */
export const EXECUTION_TYPES = ['http', 'shell', 'docker', 'serverless', 'sandbox', 'wasm', 'kubernetes'] as const
export type ExecutionType = (typeof EXECUTION_TYPES)[number]
