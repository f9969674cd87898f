import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { SecretStores } from './secret-provider.ts'
import { findReferenceProblem, readSecrets } from './secret-providers.ts'

let folder: string
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'secrets-'))))
afterEach(() => rmSync(folder, { recursive: true }))

const NOWHERE: SecretStores = { command: null, vaultAddress: null, vaultTokenFile: null }

async function answerOf(reference: string, stores: Partial<SecretStores>, timeoutMs?: number): Promise<string> {
  const answer = (await readSecrets([reference], { ...NOWHERE, ...stores }, timeoutMs)).get(reference)
  if (answer === undefined) throw new Error('a reference without an answer')
  return answer.ok ? `value ${answer.secret.value}` : `no: ${answer.reason}`
}

describe('references', () => {
  it.each([
    'exec:stripe',
    'exec:payments/stripe#api_key',
    'exec:a@b.c:d',
    'vault:secret/payments/stripe#api_key',
    'vault:kv/a#b',
  ])('takes %s', (reference) => expect(findReferenceProblem(reference)).toBeNull())

  it.each([
    ['stripe', 'PROVIDER:NAME with one of the providers exec, vault'],
    ['valt:secret/a#b', 'did you mean "vault:"'],
    ['constructor:a', 'PROVIDER:NAME'],
    ['exec:--all', 'no name of the provider exec'],
    ['exec:a b', 'no name'],
    ['exec:../../etc/passwd', 'no name'],
    ['exec:', 'no name'],
    ['vault:secret#a', 'no name of the provider vault: MOUNT/PATH#FIELD'],
    ['vault:secret/../sys#a', 'no name'],
    ['vault:secret/a?version=1#b', 'no name'],
    ['vault:secret/a', 'no name'],
  ])('refuses %s', (reference, words) => expect(findReferenceProblem(reference)).toContain(words))
})

describe('exec', () => {
  function program(text: string, mode = 0o755): string {
    const file = path.join(folder, 'helper')
    writeFileSync(file, `#!/bin/sh\n${text}\n`)
    chmodSync(file, mode)
    return file
  }

  it('gives what the program prints for the name, its only argument, without the last line break', async () => {
    expect(await answerOf('exec:pay/stripe', { command: program('echo "$# $1"') })).toBe('value 1 pay/stripe')
  })

  it('hands over nothing of its own environment, no input, and no folder', async () => {
    process.env['PLANTED_SECRET'] = 'planted'
    const seen = await answerOf('exec:a', { command: program('env | cut -d= -f1 | sort | xargs; cat; pwd') })
    delete process.env['PLANTED_SECRET']
    expect(seen).toBe('value LANG PATH PWD TZ\n/')
  })

  it.each([
    ['echo hunter2 >&2; exit 3', 'the program ended with status 3; run it by hand'],
    ['echo hunter2; kill -9 $$', 'the program ended with signal SIGKILL'],
    ['true', 'its value is empty'],
    ['head -c 70000 /dev/zero', 'printed more than 65536 bytes'],
    [String.raw`printf 'hunter2\377'`, 'no UTF-8 text'],
  ])('says of "%s" what went wrong, and nothing that was printed', async (text, words) => {
    const answer = await answerOf('exec:a', { command: program(text) })
    expect(answer).toContain(`no: `)
    expect(answer).toContain(words)
    expect(answer).not.toContain('hunter2')
  })

  it('ends a program that takes too long, with what it started', async () => {
    const left = path.join(folder, 'pid')
    const text = `sleep 600 & echo $! > ${left}; wait`
    expect(await answerOf('exec:a', { command: program(text) }, 1_500)).toContain('did not answer in time')
    // Dead or not yet reaped, never running.
    expect(
      await answerOf('exec:a', { command: program(`read pid < ${left}; ps -o stat= -p $pid | grep -v Z; echo done`) }),
    ).toBe('value done')
  })

  it('does not wait for somebody who left the group and holds the pipe', async () => {
    const text = 'setsid sleep 20 & exit 0'
    expect(await answerOf('exec:a', { command: program(text) }, 1_000)).toContain('did not answer in time')
  })

  it('runs only what nobody else can have put there', async () => {
    expect(await answerOf('exec:a', {})).toContain('ERGON_SECRET_COMMAND, the program to ask, is not set')
    expect(await answerOf('exec:a', { command: program('echo x', 0o775) })).toContain('can be changed by others')
    expect(await answerOf('exec:a', { command: program('echo x', 0o644) })).toContain('is not executable')
    expect(await answerOf('exec:a', { command: folder })).toContain('is not a regular file')
    expect(await answerOf('exec:a', { command: '/not/there' })).toContain('ENOENT')
    const open = path.join(folder, 'open')
    mkdirSync(open)
    chmodSync(open, 0o777)
    writeFileSync(path.join(open, 'helper'), '#!/bin/sh\necho x\n', { mode: 0o755 })
    symlinkSync(path.join(open, 'helper'), path.join(folder, 'link'))
    expect(await answerOf('exec:a', { command: path.join(folder, 'link') })).toContain(
      `${open} can be changed by others than its owner: chmod go-w ${open}`,
    )
  })
})

describe('vault', () => {
  // Speaks the key-value API of version 2 as its documentation has it; it is not HashiCorp's program.
  const stored: Record<string, { status: number; body: string }> = {}
  const asked: IncomingMessage[] = []
  let server: Server
  let address: string
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(request)
      const found =
        request.headers['x-vault-token'] === 'the-token'
          ? (stored[request.url ?? ''] ?? { status: 404, body: '{"errors":[]}' })
          : { status: 403, body: '{"errors":["permission denied: hunter2"]}' }
      if (found.status === 0) return void response.destroy()
      if (found.status === 1) return
      response.writeHead(found.status, { 'content-type': 'application/json' }).end(found.body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  const secret = (data: unknown, more: object = {}, metadata: object = {}) => ({
    status: 200,
    body: JSON.stringify({ lease_duration: 0, data: { data, metadata: { deletion_time: '', ...metadata } }, ...more }),
  })

  function stores(token = 'the-token\n'): Partial<SecretStores> {
    const vaultTokenFile = path.join(folder, 'token')
    writeFileSync(vaultTokenFile, token)
    return { vaultAddress: address, vaultTokenFile }
  }

  it('reads one field of a secret', async () => {
    stored['/v1/kv/data/pay/stripe'] = secret({ key: 'the-key', other: 1 })
    expect(await answerOf('vault:kv/pay/stripe#key', stores())).toBe('value the-key')
    expect(asked.at(-1)?.headers['x-vault-request']).toBe('true')
    expect(await answerOf('vault:kv/pay/stripe#kye', stores())).toContain('no field kye')
    expect(await answerOf('vault:kv/pay/stripe#other', stores())).toContain('the field other is no text')
    expect(await answerOf('vault:kv/pay/nobody#a', stores())).toMatch(
      /no: http:.* answered 404: there is no such secret/,
    )
  })

  it('says when a secret ends', async () => {
    const expiry = async (more: object, metadata: object) => {
      stored['/v1/kv/data/a'] = secret({ f: 'value' }, more, metadata)
      const answer = (await readSecrets(['vault:kv/a#f'], { ...NOWHERE, ...stores() })).get('vault:kv/a#f')
      return answer?.ok === true ? answer.secret.expiresInMs : answer
    }
    expect(await expiry({}, {})).toBeNull()
    expect(await expiry({ lease_duration: 60 }, {})).toBe(60_000)
    expect(await expiry({ lease_duration: 60 }, { deletion_time: new Date(Date.now() - 1_000).toISOString() })).toBe(0)
  })

  it.each([
    ['a redirect', { status: 307, body: '' }, 'answered 307'],
    ['a sealed vault', { status: 503, body: '{"errors":["Vault is sealed"]}' }, 'answered 503: it is sealed'],
    ['a deleted version', secret(null), 'no field f'],
    ['no JSON', { status: 200, body: 'hunter2' }, 'no secret of a key-value engine'],
    ['an endless answer', { status: 200, body: ' '.repeat(1_100_000) }, 'more than 1048576 bytes'],
    ['a broken connection', { status: 0, body: '' }, 'could not be asked'],
    ['silence', { status: 1, body: '' }, 'did not answer in time'],
  ])('says what %s is, and repeats nothing of it', async (_what, answer, words) => {
    stored['/v1/kv/data/broken'] = answer
    // The others have all the time that a busy machine takes.
    const told = await answerOf('vault:kv/broken#f', stores(), answer.status === 1 ? 1_000 : undefined)
    expect(told).toContain(words)
    expect(told).not.toContain('hunter2')
  })

  it('sends its token over TLS, or not beyond this machine', async () => {
    expect(await answerOf('vault:kv/a#b', stores('another-token'))).toBe(
      `no: ${address} answered 403: the token is not valid or may not read it`,
    )
    expect(await answerOf('vault:kv/a#b', stores('two\nlines'))).toContain('holds no token')
    expect(await answerOf('vault:kv/a#b', { ...stores(), vaultAddress: 'http://192.0.2.1:8200' })).toContain(
      'must begin with https://',
    )
    expect(await answerOf('vault:kv/a#b', { vaultAddress: address })).toContain('ERGON_VAULT_TOKEN_FILE')
    expect(await answerOf('vault:kv/a#b', {})).toContain('ERGON_VAULT_ADDRESS')
  })
})

it('asks for each reference once, and fails for none of the others', async () => {
  const file = path.join(folder, 'helper')
  writeFileSync(file, `#!/bin/sh\necho "$1" >> ${folder}/asked\n[ "$1" != b ] && echo "value of $1"\n`, { mode: 0o755 })
  const references = ['exec:a', 'exec:b', 'exec:a', ...Array.from({ length: 8 }, (_, index) => `exec:n${index}`)]
  const answers = await readSecrets(references, { ...NOWHERE, command: file })
  expect(answers.size).toBe(10)
  expect([...answers.values()].filter(({ ok }) => !ok)).toHaveLength(1)
})
