import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { combineServices, createServices, type ServiceConfig } from './create-services.ts'
import { gatherRegistry, type RegistryBundle } from './registry-bundle.ts'
import { VALID_REGISTRY } from './registry.fixture.ts'
import { createBuiltInServices } from './service-registry.ts'

const TYPES = ['http', 'shell', 'docker', 'serverless', 'sandbox']
const env = { STRIPE_TOKEN: 'the-token-itself', ACCOUNT: 'acct-${HOME}', HOME: '/root' }
let folder: string

beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'registry-'))))
afterEach(() => rmSync(folder, { recursive: true }))

function write(name: string, text: string): string {
  const file = path.join(folder, name)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, text)
  return file
}

async function gather(
  text: string,
  change: Partial<Parameters<typeof gatherRegistry>[0]> = {},
): Promise<RegistryBundle> {
  const file = write('registry.yaml', text)
  return (await gatherRegistry({ file, profile: 'development', env, executionTypes: TYPES, ...change })).bundle
}

const services = (bundle: RegistryBundle, executionTypes = TYPES) =>
  createServices(bundle, { executionTypes, checkConfig: () => {} })

describe('a registry as a worker gets it', () => {
  it('expands references in the memory of the worker, once, and never in a program', async () => {
    const registry = services(await gather(VALID_REGISTRY))
    const { service } = registry.resolve('STRIPE', 'Create_Charge').runnerConfig as ServiceConfig<'http'>
    expect(service.runner_config.headers).toEqual({ 'X-Account': 'acct-${HOME}' })
    const fit = registry.resolve('fit', 'line').runnerConfig as ServiceConfig<'sandbox'>
    expect(fit.service.runner_config.code).toBe("print('${NOT_A_REFERENCE}')")
  })

  it('gives secrets only to who asks by name, and shows them to nobody who prints', async () => {
    const config = services(await gather(VALID_REGISTRY)).resolve('stripe', 'create_charge')
      .runnerConfig as ServiceConfig<'http'>
    expect(config.secrets.read(config.service.runner_config.auth_config, 'token')).toBe('the-token-itself')
    const { inText } = config.secrets.redacted
    expect([inText.has('a the-token-itself'), inText.has('acct-${HOME}'), inText.has('another')]).toEqual([
      true,
      true,
      false,
    ])
    expect(inspect(config, { depth: 10, showHidden: true }) + JSON.stringify(config)).not.toContain('the-token-itself')
  })

  it('hands over only what the services of its types name', async () => {
    const bundle = await gather(VALID_REGISTRY, { executionTypes: ['sandbox'], env: {} })
    expect(bundle.variables).toEqual({})
    expect(services(bundle, ['sandbox']).serviceNames()).toEqual(['fit'])
    expect(() => services(bundle, ['sandbox']).resolve('stripe', 'x')).toThrow(
      "Service 'stripe' not found. Available: [fit]",
    )
  })

  it('names every variable that is missing, where it is named, and no value', async () => {
    const text = VALID_REGISTRY.replace('/v1', '/${VERSION}')
    const missing = gather(text, { env: { ACCOUNT: 'secret-account' } })
    await expect(missing).rejects.toMatchObject({ code: 'REGISTRY_INVALID', faults: [{ line: 10 }, { line: 12 }] })
    await expect(missing).rejects.toThrow(
      /VERSION cannot be used: it is not set(.|\n)*STRIPE_TOKEN cannot be used: it is not set/,
    )
    await expect(missing).rejects.not.toThrow('secret-account')
  })

  it('says of every service what the fleet must know, the built-in one included', async () => {
    const limits = 'max_invocations_per_hour: 0, max_cost_per_hour: 0.25'
    const text = VALID_REGISTRY.replace('max_invocations_per_hour: 100', limits)
    const all = combineServices(createBuiltInServices(null), services(await gather(text))).registrations()
    const none = { maxConcurrent: null, rateLimitPerMinute: null, maxInvocationsPerHour: null, maxCostPerHour: null }
    expect(all).toContainEqual({ service: 'executor', executionType: 'sandbox', ...none })
    expect(all).toContainEqual({ service: 'Stripe', executionType: 'http', ...none, rateLimitPerMinute: 60 })
    expect(all.find(({ executionType }) => executionType === 'serverless')).toEqual({
      service: 'resize',
      executionType: 'serverless',
      ...none,
      maxInvocationsPerHour: 0,
      maxCostPerHour: 0.25,
    })
  })

  it('checks what a reference expanded to, and repeats none of it', async () => {
    const bundle = await gather(VALID_REGISTRY.replace('https://api.stripe.com', '${BASE}'), {
      env: { ...env, BASE: 'ftp://hunter2' },
    })
    expect(() => services(bundle)).toThrow(
      'registry.yaml:10:17: services.0.runner_config.base_url: once its references are expanded: must be a URL',
    )
    expect(() => services(bundle)).not.toThrow('hunter2')
  })

  it('refuses in production what the security check calls high, and nothing of it in development', async () => {
    const text = VALID_REGISTRY.replace('https://api.stripe.com', 'http://api.stripe.com')
    await expect(gather(text, { profile: 'production' })).rejects.toThrow('plain-http: credentials (bearer)')
    await expect(gather(text, { profile: 'production', acceptedRisks: ['plain-http'] })).resolves.toBeDefined()
    await expect(gather(text)).resolves.toBeDefined()
  })

  it('reads secrets from files, without the line break at their end', async () => {
    const secret = write('token', 'from-a-file\n')
    const text = VALID_REGISTRY.replace('token_env_var: STRIPE_TOKEN', `token_file: ${secret}`)
    const config = services(await gather(text)).resolve('stripe', 'create_charge').runnerConfig as ServiceConfig<'http'>
    expect(config.secrets.read(config.service.runner_config.auth_config, 'token')).toBe('from-a-file')
    await expect(gather(text.replace(secret, '/not/there'))).rejects.toThrow(
      'the secret file /not/there cannot be used: ENOENT',
    )
    await expect(gather(text.replace(secret, '/dev/zero'))).rejects.toThrow('it is not a regular file')
  })

  it('takes secrets from the stores of whoever starts workers, as one of three ways to name them', async () => {
    const command = write('helper', '#!/bin/sh\nexec printf %s "value-of-$1"\n')
    chmodSync(command, 0o755)
    const secretStores = { command, vaultAddress: null, vaultTokenFile: null }
    const text = VALID_REGISTRY.replace('token_env_var: STRIPE_TOKEN', 'token_vault: "exec:stripe"')
    const config = services(await gather(text, { secretStores })).resolve('stripe', 'create_charge')
      .runnerConfig as ServiceConfig<'http'>
    expect(config.secrets.read(config.service.runner_config.auth_config, 'token')).toBe('value-of-stripe')
    expect(config.secrets.redacted.inText.has('value-of-stripe')).toBe(true)
    expect(inspect(config, { depth: 10, showHidden: true }) + JSON.stringify(config)).not.toContain('value-of-stripe')
    await expect(gather(text)).rejects.toThrow('ERGON_SECRET_COMMAND, the program to ask, is not set')
    const twice = VALID_REGISTRY.replace('token_env_var: STRIPE_TOKEN', '$&, token_vault: "exec:stripe"')
    await expect(gather(twice)).rejects.toThrow('token_env_var or token_file or token_vault, and only one of them')
  })

  const scripted = VALID_REGISTRY.replace(/code: .*\}/, 'script: programs/fit.py}')

  it('reads programs below its own folder, and nowhere else', async () => {
    write('programs/fit.py', 'print(1)')
    const config = services(await gather(scripted)).resolve('fit', 'line').runnerConfig as ServiceConfig<'sandbox'>
    expect(config.script).toBe('print(1)')

    rmSync(path.join(folder, 'programs/fit.py'))
    symlinkSync('/etc/hostname', path.join(folder, 'programs/fit.py'))
    await expect(gather(scripted)).rejects.toThrow("it leads out of the registry's folder")
  })

  it('refuses a program that is no text or too long', async () => {
    const program = write('programs/fit.py', 'x'.repeat(600_000))
    await expect(gather(scripted)).rejects.toThrow('longer than 524288 bytes')
    writeFileSync(program, Buffer.from([0xff, 0xfe]))
    await expect(gather(scripted)).rejects.toThrow('programs/fit.py cannot be used')
  })

  it('says when there is no registry to read', async () => {
    const options = { profile: 'development', env, executionTypes: TYPES } as const
    await expect(gatherRegistry({ ...options, file: '/not/there' })).rejects.toThrow(
      'Service registry not found: /not/there',
    )
    await expect(gatherRegistry({ ...options, file: folder })).rejects.toThrow('Service registry not found')
    const large = write('large.yaml', 'x'.repeat(2_000_000))
    await expect(gatherRegistry({ ...options, file: large })).rejects.toThrow('longer than 1048576 bytes')
  })

  it('stands beside the built-in services, and names all that there are', async () => {
    const both = combineServices(createBuiltInServices(null), services(await gather(VALID_REGISTRY)))
    expect(both.serviceNames()).toEqual(['executor', 'stripe', 'report', 'convert', 'resize', 'fit'])
    expect(both.resolve('EXECUTOR', 'object_execute').rules).toBeNull()
    expect(both.resolve('Fit', 'LINE')).toMatchObject({
      name: 'fit',
      operation: 'line',
      executionType: 'sandbox',
      rules: { timeoutSeconds: 20, maxAttempts: 4 },
    })
    expect(() => both.resolve('fit', 'curve')).toThrow(
      "Operation 'curve' of service 'fit' not found. Available: [line]",
    )
    expect(() => both.resolve('nobody', 'x')).toThrow(
      "Service 'nobody' not found. Available: [executor, stripe, report, convert, resize, fit]",
    )
  })
})
