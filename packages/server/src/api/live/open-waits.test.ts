import { describe, expect, it } from 'vitest'
import type { Principal } from '../principal.ts'
import { OpenWaits } from './open-waits.ts'

const token = (tokenId: string): Principal => ({
  tokenId,
  tokenName: tokenId,
  scopes: ['read'],
  tenant: 'all',
  rateLimitPerMinute: null,
})

/** Holds a place until the returned function is called. */
function occupy(waits: OpenWaits, tokenId: string): { leave: () => Promise<void>; held: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const held = waits.hold(token(tokenId), () => promise)
  return {
    held,
    leave: () => {
      resolve()
      return held
    },
  }
}

describe('calls that wait', () => {
  it('are so many of one token, whoever else waits', async () => {
    const waits = new OpenWaits({ perToken: 2, total: 10 })
    const [first] = [occupy(waits, 'a'), occupy(waits, 'a'), occupy(waits, 'b')]
    await expect(occupy(waits, 'a').held).rejects.toMatchObject({ code: 'TOO_MANY_WAITS', retryAfterSeconds: 2 })
    expect(await waits.hold(token('b'), () => Promise.resolve('in'))).toBe('in')
    await first?.leave()
    expect(await waits.hold(token('a'), () => Promise.resolve('in'))).toBe('in')
  })

  it('are so many of all tokens', async () => {
    const waits = new OpenWaits({ perToken: 2, total: 2 })
    const [first] = [occupy(waits, 'a'), occupy(waits, 'b')]
    await expect(occupy(waits, 'c').held).rejects.toMatchObject({ code: 'WAITS_EXHAUSTED' })
    await first?.leave()
    expect(await waits.hold(token('c'), () => Promise.resolve('in'))).toBe('in')
  })

  it('that fail leave their place, and those that are refused take none', async () => {
    const waits = new OpenWaits({ perToken: 1, total: 2 })
    for (let time = 0; time < 3; time++)
      await expect(waits.hold(token('a'), () => Promise.reject(new Error('gone')))).rejects.toThrow('gone')
    const held = occupy(waits, 'a')
    for (let time = 0; time < 3; time++) {
      let hasRun = false
      const refused = waits.hold(token('a'), async () => void (hasRun = true))
      await expect(refused).rejects.toMatchObject({ code: 'TOO_MANY_WAITS' })
      expect(hasRun).toBe(false)
    }
    await held.leave()
    expect(await waits.hold(token('a'), () => Promise.resolve('in'))).toBe('in')
  })
})
