import { describe, expect, it } from 'vitest'
import { findLacks } from './engine-lacks.ts'

const fit = {
  isPodman: false,
  OSType: 'linux',
  ApiVersion: '1.41',
  SecurityOptions: ['name=apparmor', 'name=seccomp,profile=builtin'],
  ...{ MemoryLimit: true, SwapLimit: true, PidsLimit: true, CpuCfsQuota: true },
}

describe('an engine', () => {
  it('is fit with a seccomp profile and every limit', () => {
    expect(findLacks(fit)).toEqual([])
    expect(findLacks({ ...fit, SecurityOptions: ['name=seccomp,profile=/etc/own.json'] })).toEqual([])
  })

  it('without root is fit with cgroups of its own, and is told what it lacks without', () => {
    const rootless = { ...fit, SecurityOptions: [...fit.SecurityOptions, 'name=rootless'] }
    expect(findLacks(rootless)).toEqual([])
    expect(findLacks({ ...rootless, MemoryLimit: false })).toEqual([
      expect.stringContaining('without root and without cgroups'),
      expect.stringContaining('no memory limit'),
    ])
  })

  it.each([
    [{ SecurityOptions: null }, 'seccomp'],
    [{ SecurityOptions: ['name=apparmor'] }, 'seccomp'],
    [{ SecurityOptions: ['name=seccomp,profile=unconfined'] }, 'seccomp'],
    [{ MemoryLimit: false }, 'memory limit'],
    [{ SwapLimit: undefined }, 'swap'],
    [{ PidsLimit: false }, 'processes'],
    [{ CpuCfsQuota: false }, 'CPU'],
    [{ OSType: 'windows' }, 'windows'],
    [{ isPodman: true }, 'Podman'],
    [{ ApiVersion: '1.39' }, '1.39'],
    [{ ApiVersion: undefined }, 'unknown'],
  ])('is refused with %j', (change, word) => {
    const lacks = findLacks({ ...fit, ...change })
    expect(lacks).toHaveLength(1)
    expect(lacks[0]).toContain(word)
  })
})
