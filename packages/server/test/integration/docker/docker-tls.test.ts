import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findFreePort } from '../../../src/testing/find-free-port.ts'
import { TestEngine } from '../../../src/testing/docker-engine.ts'
import { DockerBench, sh } from './docker-fixture.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'ergon-tls-'))
let engine: TestEngine
let url: string
beforeAll(async () => {
  for (const authority of ['ca', 'other']) {
    openssl('req', '-x509', '-subj', `/CN=${authority}`, '-keyout', `${authority}-key.pem`, '-out', `${authority}.pem`)
    for (const name of ['server', 'client']) sign(authority, name)
  }
  url = `tcp://127.0.0.1:${await findFreePort()}`
  engine = await TestEngine.start({
    arguments: ['-H', url, '--tlsverify', ...['cacert=ca', 'cert=ca-server', 'key=ca-server-key'].flatMap(pemArgument)],
  })
  await engine.importBusybox('test/busybox:1')
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await engine?.stop()
})

function openssl(command: string, ...words: string[]): void {
  const newKey = command === 'req' ? ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] : []
  execFileSync('openssl', [command, ...newKey, ...words], { cwd: folder, stdio: 'pipe' })
}

function sign(authority: string, name: string): void {
  const file = `${authority}-${name}`
  openssl('req', '-subj', `/CN=${name}`, '-keyout', `${file}-key.pem`, '-out', `${file}.csr`)
  writeFileSync(path.join(folder, 'names'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n')
  const by = ['-CA', `${authority}.pem`, '-CAkey', `${authority}-key.pem`, '-CAcreateserial']
  openssl('x509', '-req', '-in', `${file}.csr`, ...by, '-extfile', 'names', '-out', `${file}.pem`)
}

function pemArgument(pair: string): string[] {
  const [option, file] = pair.split('=')
  return [`--tls${option}`, path.join(folder, `${file}.pem`)]
}

const tls = (authority: string, client: string) => {
  const read = (file: string) => readFileSync(path.join(folder, `${file}.pem`), 'utf8')
  return { ca: read(authority), cert: read(`${client}-client`), key: read(`${client}-client-key`) }
}

describe('an engine at another place, by TLS', () => {
  it('runs jobs, and mounts no folder of this machine', async () => {
    const bench = new DockerBench({ url }, { tls: tls('ca', 'ca') })
    expect(await bench.run({ config: sh('cat'), input: { a: 1 } })).toMatchObject({
      end: 'SUCCEEDED',
      stdout: '{"a":1}',
    })
    const volumes = [{ host_path: '/tmp', container_path: '/data' }]
    const ran = await bench.run({
      config: { ...sh('true'), volumes },
      policy: { volume_restrictions: { allowed_host_paths: ['/tmp'] } },
    })
    expect(ran).toMatchObject({ end: 'VALIDATION_ERROR/VOLUME_REFUSED' })
    bench.remove()
    expect(await engine.leftovers()).toEqual([])
  })

  it.each([
    ['it is not who the certificate names', 'other', 'ca'],
    ['it does not know us', 'ca', 'other'],
  ])('is not used where %s', async (_name, authority, client) => {
    const bench = new DockerBench({ url }, { tls: tls(authority, client) })
    expect(await bench.run({ config: sh('true') })).toMatchObject({ end: 'INTERNAL_ERROR/ENGINE_UNREACHABLE' })
    bench.remove()
  })
})

it('an engine that is away is told, to be tried again', async () => {
  const bench = new DockerBench({ url: 'unix:///nowhere/docker.sock' })
  const ran = await bench.run({ config: sh('true') })
  expect(ran).toMatchObject({
    end: 'INTERNAL_ERROR/ENGINE_UNREACHABLE',
    message: expect.stringContaining('ENOENT') as unknown,
  })
  bench.remove()
})
