import { open, unlink } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { choosePlace } from '../choose-place.ts'
import { parseNumber } from '../parse-options.ts'
import { JOB_ARGUMENT, requireJobId } from '../require-job.ts'
import { formatBytes, formatTable } from '../terminal.ts'
import { isUuid } from '../../platform/text/uuid.ts'

export function addArtifactsCommand(program: Command): void {
  const artifacts = program.command('artifacts').description('list and fetch what jobs left')

  artifacts
    .command('list')
    .description('the newest artifacts')
    .option('--job <job>', `only those of one job: ${JOB_ARGUMENT}`)
    .option('--limit <n>', 'at most so many', parseNumber('--limit', 1, 1_000), 20)
    .option('--json', 'one JSON array', false)
    .addHelpText('after', '\nExample:\n  ergon artifacts list --limit 5')
    .action(async (options: { job?: string; limit: number; json: boolean }) => {
      const found = await (await choosePlace()).use('database', async (control) => {
        const jobId = options.job === undefined ? null : await requireJobId(control, options.job)
        return control.listArtifacts(jobId, options.limit)
      })
      if (options.json) process.stdout.write(`${JSON.stringify(found)}\n`)
      else if (found.length === 0) process.stdout.write('no artifacts yet\n')
      else {
        const cells = found.map((each) => [
          each.artifact_id,
          each.kind,
          each.metadata.name,
          formatBytes(each.size_bytes),
          each.digest,
        ])
        process.stdout.write(formatTable([['ID', 'KIND', 'NAME', 'SIZE', 'DIGEST'], ...cells]))
      }
    })

  artifacts
    .command('get')
    .description("write an artifact's bytes to a file or to standard output")
    .argument('<id>', 'artifact id, or its digest')
    .option('--out <file>', 'the file; an existing one is not overwritten')
    .option('--json', 'describe it as one JSON object instead of its bytes (with --out: beside them)', false)
    .addHelpText('after', '\nExample:\n  ergon artifacts get 0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f --out plot.png')
    .action(async (id: string, options: { out?: string; json: boolean }) =>
      (await choosePlace()).use('database', async (control) => {
        const artifact = isUuid(id) ? await control.findArtifact(id) : null
        if (artifact === null && !id.startsWith('sha256:')) {
          throw new ErgonError(
            'ARTIFACT_NOT_FOUND',
            `there is no artifact ${JSON.stringify(id)}; \`ergon artifacts list\` shows the newest`,
          )
        }
        if (options.out !== undefined) await fetchTo(options.out, () => control.openArtifact(artifact ?? id))
        else if (!options.json)
          await pipeline(await control.openArtifact(artifact ?? id), process.stdout, { end: false })
        else (await control.openArtifact(artifact ?? id)).destroy()
        if (options.json) process.stdout.write(`${JSON.stringify(artifact ?? { digest: id })}\n`)
        else if (options.out !== undefined) process.stderr.write(`wrote ${options.out}\n`)
      }),
    )
}

/** The whole of it or no file: half of one would be taken for the artifact, and be in the way of the next try. */
async function fetchTo(file: string, openBytes: () => Promise<Readable>): Promise<void> {
  const target = await createFile(file)
  try {
    await pipeline(await openBytes(), target)
  } catch (error) {
    target.destroy()
    await unlink(file).catch(() => {})
    throw error
  }
}

async function createFile(file: string) {
  try {
    return (await open(file, 'wx')).createWriteStream()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
      throw new ErgonError('FILE_UNWRITABLE', `${file} is there already and is not overwritten: choose another --out`)
    throw new ErgonError(
      'FILE_UNWRITABLE',
      `${file} cannot be written: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}
