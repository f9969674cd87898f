import { describe } from 'vitest'
import { describeFault, type Victim } from './faults/describe-fault.ts'
import { findInit, findRuntime, findSandboxd, findTakenInit, findTemplate } from './faults/process-tree.ts'
import { STEPS } from './faults/steps.ts'

const LIVING_SANDBOX = {
  running: 'SANDBOX_LOST',
  'while output streams': 'SANDBOX_LOST',
  'between start and started': 'SANDBOX_RUNTIME_FAILED',
  'in init, before started': 'SANDBOX_RUNTIME_FAILED',
}
const LIVING_CONNECTION = {
  ...LIVING_SANDBOX,
  'between start and started': 'SANDBOX_LOST',
  'in init, before started': 'SANDBOX_LOST',
  'at collection': 'SANDBOX_LOST',
  'while inputs are sent': 'SANDBOX_LOST',
  'before accepted': 'SANDBOX_LOST',
}
const EVERY_STEP = Object.fromEntries(Object.keys(STEPS).map((step) => [step, 'WORKER_LOST']))

const VICTIMS: readonly Victim[] = [
  { name: 'the worker', find: (host) => host.workerPid(), steps: EVERY_STEP },
  {
    name: 'sandboxd',
    find: ({ home }) => findSandboxd(home).outer,
    steps: { ...LIVING_CONNECTION, 'while recording': null },
  },
  {
    name: "sandboxd's accept loop",
    find: ({ home }) => findSandboxd(home).acceptLoop,
    steps: { ...LIVING_CONNECTION, 'while recording': null },
  },
  { name: 'the handler', find: (_, { handler }) => handler, steps: LIVING_CONNECTION },
  { name: 'the OCI runtime', find: (_, { handler }) => findRuntime(handler), steps: LIVING_SANDBOX },
  {
    name: 'init',
    find: (_, { handler }) => findInit(handler),
    steps: {
      running: 'SANDBOX_LOST',
      'while output streams': 'SANDBOX_LOST',
      'in init, before started': 'SANDBOX_RUNTIME_FAILED',
    },
  },
  {
    // It does not stay beside the job.
    name: 'runc, while it starts a job,',
    runtime: 'runc',
    find: (_, { handler }) => findRuntime(handler),
    steps: { 'between start and started': 'SANDBOX_RUNTIME_FAILED' },
  },
  {
    name: 'the init that runc left',
    runtime: 'runc',
    find: (_, { handler }) => findInit(handler),
    steps: { running: 'SANDBOX_LOST', 'while output streams': 'SANDBOX_LOST' },
  },
]

/** What warm jobs stand on: the parts of a container of a job's own are above. A taken child is there from `run` on. */
const LIVING_CHILD = {
  'while inputs are sent': 'SANDBOX_TEMPLATE_LOST',
  running: 'SANDBOX_TEMPLATE_LOST',
  'while output streams': 'SANDBOX_TEMPLATE_LOST',
}
const NOTHING_TAKEN = { 'before accepted': null }
const NOTHING_LIVING = { 'at collection': null, 'while recording': null }
const COSTS_NOTHING = {
  ...NOTHING_TAKEN,
  'while inputs are sent': null,
  running: null,
  'while output streams': null,
  ...NOTHING_LIVING,
}

const WARM_VICTIMS: readonly Victim[] = [
  {
    name: 'the template',
    find: ({ home }) => findTemplate(findSandboxd(home))?.template ?? null,
    steps: COSTS_NOTHING,
  },
  {
    name: 'the launcher, PID 1 of the template,',
    find: ({ home }) => findTemplate(findSandboxd(home))?.launcher ?? null,
    steps: { ...NOTHING_TAKEN, ...LIVING_CHILD, ...NOTHING_LIVING },
  },
  {
    name: 'the keeper',
    find: ({ home }) => findTemplate(findSandboxd(home))?.keeper ?? null,
    steps: { ...NOTHING_TAKEN, ...LIVING_CHILD, ...NOTHING_LIVING },
  },
  {
    name: "the init of the job's child",
    find: (_, { handler }) => findTakenInit(handler),
    steps: {
      'while inputs are sent': 'SANDBOX_RUNTIME_FAILED',
      running: 'SANDBOX_LOST',
      'while output streams': 'SANDBOX_LOST',
    },
  },
]

describe.each(WARM_VICTIMS)('$name is killed, and the jobs are warm', (victim) => {
  describeFault(victim, 'warm')
})

describe.each(VICTIMS)('$name is killed', (victim) => {
  describeFault(victim, 'fresh')
})
