import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createLogger } from '../platform/logger.ts'
import type { RegistryBundle } from '../registry/registry-bundle.ts'
import { RegistryFeed } from './registry-feed.ts'
import { SECRET_REFUSED_LINE, SecretRenewal } from './secret-renewal.ts'

const REGISTRY = `services:
  - name: mail
    type: notification
    category: tests
    operations: [{name: send}]
    runner_config: {base_url: "https://mail.example.org", auth_type: bearer, auth_config: {token_vault: "exec:mail"}}
`
const logger = createLogger('test', 'silent')

let folder: string
let file: string
let command: string
let renewal: SecretRenewal | null = null
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'renewal-'))
  file = path.join(folder, 'registry.yaml')
  command = path.join(folder, 'helper')
  writeFileSync(file, REGISTRY)
  store('exec echo first-value')
})
afterEach(() => {
  renewal?.stop()
  rmSync(folder, { recursive: true })
})

/** What the store does from now on. */
function store(text: string): void {
  writeFileSync(command, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
}

function createFeed(): RegistryFeed {
  return new RegistryFeed({
    file,
    profile: 'development',
    env: {},
    executionTypes: ['http'],
    acceptedRisks: [],
    secretStores: { command, vaultAddress: null, vaultTokenFile: null },
    logger,
  })
}

it('refuses a registry whose secret cannot be had, by the name of its reference', async () => {
  store('echo hunter2; exit 4')
  const loading = createFeed().load()
  await expect(loading).rejects.toThrow(
    /registry\.yaml:6:\d+: .*the vault secret exec:mail cannot be used: the program ended with status 4/,
  )
  await expect(loading).rejects.not.toThrow('hunter2')
})

it('gives a new value, and nothing when there is none', async () => {
  const feed = createFeed()
  expect((await feed.load()).vaultSecrets).toEqual({ 'exec:mail': 'first-value' })
  expect(await feed.renewSecrets()).toBeNull()
  store('exec echo second-value')
  // Only SIGHUP reads the file.
  writeFileSync(file, 'no registry')
  expect(await feed.renewSecrets()).toMatchObject({ text: REGISTRY, vaultSecrets: { 'exec:mail': 'second-value' } })
  expect(feed.current?.vaultSecrets).toEqual({ 'exec:mail': 'second-value' })
})

it('keeps the value that it has while the store gives none', async () => {
  const feed = createFeed()
  await feed.load()
  store('exit 1')
  expect(await feed.renewSecrets()).toBeNull()
  expect(feed.current?.vaultSecrets).toEqual({ 'exec:mail': 'first-value' })
})

it('asks again when a worker says that a secret was refused, and for no other line of its', async () => {
  const feed = createFeed()
  await feed.load()
  const told = Promise.withResolvers<RegistryBundle>()
  renewal = new SecretRenewal(feed, told.resolve, logger, 0)
  renewal.start()
  store('exec echo second-value')
  renewal.hear('{"secretRefused":false}')
  expect(feed.current?.vaultSecrets).toEqual({ 'exec:mail': 'first-value' })
  renewal.hear(SECRET_REFUSED_LINE)
  expect((await told.promise).vaultSecrets).toEqual({ 'exec:mail': 'second-value' })
})

it('asks again when a secret ends', async () => {
  const feed = createFeed()
  await feed.load()
  Object.defineProperty(feed, 'secretsEndAtMs', { get: () => 0 })
  const told = Promise.withResolvers<RegistryBundle>()
  renewal = new SecretRenewal(feed, told.resolve, logger, 0)
  store('exec echo second-value')
  renewal.start()
  expect((await told.promise).vaultSecrets).toEqual({ 'exec:mail': 'second-value' })
})
