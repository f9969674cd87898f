import { expect, it } from 'vitest'
import { HostResolver } from './host-resolver.ts'

it('asks once for a name that many ask for at the same time, and again later', async () => {
  let asked = 0
  const resolver = new HostResolver(() => Promise.resolve([`10.0.0.${++asked}`]))
  expect(await Promise.all([resolver.resolve('a.test'), resolver.resolve('a.test')])).toEqual([
    ['10.0.0.1'],
    ['10.0.0.1'],
  ])
  expect(await resolver.resolve('a.test')).toEqual(['10.0.0.2'])
})

it('asks for two names at a time, however many there are, and goes on after a failure', async () => {
  let running = 0
  let most = 0
  const resolver = new HostResolver(async (name) => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setImmediate(resolve))
    running--
    if (name === 'bad.test') throw new Error('no such name')
    return ['192.0.2.1']
  })
  const names = ['a.test', 'bad.test', 'b.test', 'c.test', 'd.test']
  const results = await Promise.allSettled(names.map((name) => resolver.resolve(name)))
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
  expect(most).toBe(2)
})

it('asks nobody for an address, and takes no answer for an error', async () => {
  const resolver = new HostResolver(() => Promise.resolve([]))
  expect(await resolver.resolve('[::1]')).toEqual(['::1'])
  await expect(resolver.resolve('none.test')).rejects.toMatchObject({ code: 'ENOTFOUND' })
})

it('a zone whose servers are slow leaves room for other names', async () => {
  const resolver = new HostResolver((name) =>
    name.endsWith('slow.test') ? new Promise(() => {}) : Promise.resolve(['192.0.2.1']),
  )
  for (const name of ['a.slow.test', 'b.slow.test', 'c.slow.test.']) void resolver.resolve(name)
  expect(await resolver.resolve('fast.test')).toEqual(['192.0.2.1'])
})

it('does not ask for what nobody waits for any more', async () => {
  const asked: string[] = []
  const slow = Promise.withResolvers<readonly string[]>()
  const resolver = new HostResolver((name) => {
    asked.push(name)
    return name === 'a.test' || name === 'b.test' ? slow.promise : Promise.resolve(['192.0.2.1'])
  })
  void resolver.resolve('a.test')
  void resolver.resolve('b.test')
  const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()]
  const dropped = resolver.resolve('c.test', first.signal)
  const kept = resolver.resolve('d.test', second.signal)
  void resolver.resolve('d.test', third.signal).catch(() => {})
  first.abort()
  second.abort()
  await expect(dropped).rejects.toThrow('nobody waits')
  slow.resolve(['192.0.2.2'])
  expect(await kept).toEqual(['192.0.2.1'])
  expect(asked).toEqual(['a.test', 'b.test', 'd.test'])
})
