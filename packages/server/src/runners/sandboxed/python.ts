import { toSandboxLimits } from '../../domain/limits.ts'
import type { Sandbox, SandboxFile, SandboxRuntime } from '../../sandbox/sandbox.ts'
import { SandboxOutputs } from './collect-outputs.ts'
import type { AdapterInputs, RuntimeAdapter } from './runtime-adapter.ts'

const DEFAULT_ENTRYPOINT = 'main.py'

/** Runs a program as a Python file of its own: `/workspace/code/<entrypoint>` as `__main__`. */
export function createPythonAdapter(sandbox: Sandbox, runtime: SandboxRuntime, cpuPercent: number): RuntimeAdapter {
  return {
    language: 'python',

    prepare(inputs, onOutput) {
      const { payload } = inputs
      const entrypoint = payload.inputs.object.runtime.entrypoint ?? DEFAULT_ENTRYPOINT
      const code = textFile(`code/${entrypoint}`, payload.inputs.object.content.value)
      const parameters = textFile('input/parameters.json', inputs.parametersJson)
      return {
        request: {
          id: `${inputs.jobId}-${inputs.attempt}`,
          environment: inputs.envVersion,
          runtime,
          isolation: inputs.isolation,
          entry: { kind: 'python', file: code.path },
          env: {},
          seed: inputs.seed,
          network: { level: 'loopback' },
          workspace: 'read_write',
          limits: toSandboxLimits(inputs.limits, Math.min(inputs.cpuPercent ?? Infinity, cpuPercent)),
          onOutputLimit: inputs.policy.on_output_limit,
          files: [code, parameters, ...inputs.datasets],
        },
        outputs: new SandboxOutputs(inputs.spoolFolder, allowedFormats(inputs), onOutput),
      }
    },

    execute: (run, signal) => sandbox.run(run.request, run.outputs, signal),

    collectOutputs: (run) => run.outputs.collect(),

    cleanup: (run) => run.outputs.abandon(),
  }
}

/** What the job wants to leave, as far as the service lets it. */
function allowedFormats({ payload, policy }: AdapterInputs): string[] {
  const allowed: readonly string[] = policy.formats
  return payload.output_spec.formats.filter((format) => allowed.includes(format))
}

function textFile(path: string, text: string): SandboxFile {
  const bytes = Buffer.from(text, 'utf8')
  return { path, sizeBytes: bytes.length, read: () => [bytes] }
}
