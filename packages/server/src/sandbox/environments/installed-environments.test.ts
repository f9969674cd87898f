import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { EnvironmentLock } from './environment-lock.ts'
import { exampleLock } from './example-lock.fixture.ts'
import { listEnvironments, resolveEnvironment, setDefaultVersion } from './installed-environments.ts'

let environmentsDir: string
const older = exampleLock('python-sci', 'a', '2025-06-01T00:00:00Z')
const newer = exampleLock('python-sci', 'b', '2025-07-01T00:00:00Z')

async function install(lock: EnvironmentLock): Promise<void> {
  const folder = path.join(environmentsDir, lock.env_version)
  await mkdir(path.join(folder, 'rootfs'), { recursive: true })
  await writeFile(path.join(folder, 'lock.json'), JSON.stringify(lock))
}

afterEach(() => rm(environmentsDir, { recursive: true }))
beforeEach(async () => {
  environmentsDir = await mkdtemp(path.join(tmpdir(), 'ergon-environments-'))
  await install(older)
  await install(newer)
  await setDefaultVersion(environmentsDir, 'python-sci', older.env_version)
})

test('a bare name is its default version, not the newest', async () => {
  expect(await resolveEnvironment(environmentsDir, 'python-sci')).toMatchObject({
    name: 'python-sci',
    envVersion: older.env_version,
    rootFs: path.join(environmentsDir, older.env_version, 'rootfs'),
    language: 'python',
  })
})

test('every version can be named', async () => {
  const found = await resolveEnvironment(environmentsDir, newer.env_version)
  expect(found).toMatchObject({ envVersion: newer.env_version, isDefault: false })
})

test('a list has the newest first and skips unfinished builds', async () => {
  await mkdir(path.join(environmentsDir, '.building-x1'))
  const listed = await listEnvironments(environmentsDir)
  expect(listed.map((env) => env.envVersion)).toEqual([newer.env_version, older.env_version])
})

test.each([
  ['pyhton-sci', 'did you mean "python-sci"?'],
  ['pyhton-sci', '`ergon env build python-sci` builds it'],
  ['latex', '`ergon env build latex` builds it'],
  ['latex', 'built environments: python-sci'],
  [`python-sci@${'0'.repeat(64)}`, `versions of it that are there: ${newer.env_version}, ${older.env_version}`],
  ['../../etc', 'there is no environment "../../etc"'],
  ['', 'there is no environment ""'],
])('%s is not found, with a remedy', async (name, part) => {
  await expect(resolveEnvironment(environmentsDir, name)).rejects.toMatchObject({
    code: 'ENVIRONMENT_NOT_FOUND',
    message: expect.stringContaining(part) as unknown,
  })
})

test('an absent folder holds no environment', async () => {
  await expect(resolveEnvironment('/nowhere', 'python-sci')).rejects.toMatchObject({
    message: expect.stringContaining('no environment is built yet') as unknown,
  })
})
