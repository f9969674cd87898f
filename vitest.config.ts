import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// Tests run the sources, so that they need no build first.
const sourceOf = (name: string) => fileURLToPath(new URL(`packages/${name}/src/index.ts`, import.meta.url))
const resolve = { alias: { '@ergon/contract': sourceOf('contract'), '@ergon/client': sourceOf('client') } }

export default defineConfig({
  test: {
    projects: [
      // Nothing here leaves a trace in its process, and a process for each file would take longer than the tests.
      {
        resolve,
        test: { name: 'unit', isolate: false, include: ['packages/*/src/**/*.test.ts', 'bench/**/*.test.ts'] },
      },
      {
        resolve,
        test: { name: 'architecture', isolate: false, include: ['packages/*/test/architecture/**/*.test.ts'] },
      },
      {
        resolve,
        test: {
          name: 'integration',
          include: ['packages/*/test/integration/**/*.test.ts'],
          globalSetup: ['packages/server/src/testing/start-test-server.ts'],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        resolve,
        test: {
          name: 'e2e',
          include: ['packages/*/test/e2e/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Each file has stacks of its own, which wait (for starts, time-outs, a lost worker's rescue) more than they compute.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
