/**
 * The layers of packages/server/src: which folder may import which others. What is not listed is forbidden, and so is a
 * folder that is not listed; `test/architecture/layers.test.ts` enforces it. The longest matching folder counts, so a
 * sub-folder can be a layer of its own. A folder may always import itself.
 */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  platform: [],
  config: ['domain', 'platform'],
  registry: ['domain', 'platform'],
  compiler: ['domain', 'platform', 'registry'],
  queue: ['domain', 'platform'],
  artifacts: ['domain', 'platform'],
  'sandbox/environments': ['domain', 'platform'],
  sandbox: ['domain', 'platform', 'sandbox/environments'],
  telemetry: ['domain', 'platform'],
  runners: ['domain', 'platform', 'registry', 'artifacts', 'sandbox', 'sandbox/environments'],
  // Data plane.
  worker: ['domain', 'platform', 'registry', 'queue', 'artifacts', 'runners', 'telemetry'],
  maintenance: ['domain', 'platform', 'queue', 'artifacts'],
  // Control plane: never the data plane.
  control: ['domain', 'platform', 'registry', 'queue', 'artifacts'],
  // The same of a server's jobs.
  remote: ['platform', 'control'],
  // Asks the whole of a running stack from outside, as an application would.
  conformance: ['domain', 'platform', 'config', 'queue', 'control'],
  api: ['domain', 'platform', 'config', 'registry', 'queue', 'artifacts', 'control', 'telemetry'],
  // All wiring, and nothing else.
  app: [
    'domain',
    'platform',
    'config',
    'registry',
    'queue',
    'artifacts',
    'sandbox',
    'sandbox/environments',
    'telemetry',
    'runners',
    'worker',
    'maintenance',
    'control',
    'remote',
    'conformance',
    'api',
  ],
  cli: ['domain', 'platform', 'config', 'compiler', 'control', 'remote', 'conformance', 'app', 'sandbox/environments'],
  testing: [
    'domain',
    'platform',
    'config',
    'registry',
    'queue',
    'artifacts',
    'sandbox',
    'runners',
    'worker',
    'control',
    'app',
  ],
}

/** The only folders that read the environment of the process. */
export const READS_PROCESS_ENV: readonly string[] = ['config', 'cli', 'testing']

/** Packages that a folder may import where it may not import any: pure decisions need no tool. */
export const ALLOWED_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  domain: ['@ergon/contract', 'zod', 'node:crypto'],
}
