import { expect, it } from 'vitest'
import { findProblem, resolveVolumes } from './host-paths.ts'

it.each([
  ['/srv/a', ['/srv/a'], []],
  ['/srv/a/b', ['/srv/a/'], []],
])('%s is below %j', (real, allowed, never) => {
  expect(findProblem(real, allowed, never)).toBeNull()
})

it.each([
  ['/srv/ab', ['/srv/a'], []],
  ['/srv', ['/srv/a'], []],
  ['/', ['/'], ['/proc']],
  ['/proc/1', ['/'], ['/proc']],
  ['/var/lib', ['/var'], ['/var/lib/docker']],
])('%s is refused', (real, allowed, never) => {
  expect(findProblem(real, allowed, never)).not.toBeNull()
})

it('no folder of this machine is mounted by an engine on another one', async () => {
  const volumes = [{ hostPath: '/tmp', containerPath: '/data', isReadOnly: true }]
  await expect(
    resolveVolumes({ volumes, allowedHostPaths: ['/tmp'] }, { isLocal: false, forbidden: [] }),
  ).rejects.toThrow('another one')
  expect(await resolveVolumes({ volumes: [], allowedHostPaths: [] }, { isLocal: false, forbidden: [] })).toEqual([])
})
