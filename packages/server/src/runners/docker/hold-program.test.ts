import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { holdProgram } from './hold-program.ts'

it('waits until it is killed', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'ergon-hold-'))
  const file = path.join(folder, 'hold')
  writeFileSync(file, holdProgram(process.arch === 'arm64' ? 'arm64' : 'amd64') ?? '', { mode: 0o755 })
  const child = spawn(file, { stdio: 'ignore' })
  await once(child, 'spawn')
  await sleep(100)
  expect(child.exitCode ?? child.signalCode).toBeNull()
  child.kill('SIGKILL')
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
  rmSync(folder, { recursive: true })
})

it('is there for two processors, and for no other', () => {
  expect(holdProgram('aarch64')?.readUInt16LE(18)).toBe(183)
  expect(holdProgram('x86_64')).toEqual(holdProgram('amd64'))
  expect(holdProgram('s390x')).toBeNull()
})
