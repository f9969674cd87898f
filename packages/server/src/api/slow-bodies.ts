import type { ApiApp } from './api-app.ts'

interface BodyTimes {
  /** How long a body may take to come where its route says nothing else. */
  bodyMs: number
  /** How long whoever was answered already may go on sending: cut at once, it might not get to read the answer. */
  lingerMs: number
}
const TIMES: BodyTimes = { bodyMs: 30_000, lingerMs: 5_000 }

/** The longest that a route may ask for, which holds for whole requests, whatever their path. */
export const LONGEST_BODY_MS = 900_000

/** Cuts the connections of those whose bodies come too slowly: with 408, unless they were answered before. */
export function cutSlowBodies(app: ApiApp, { bodyMs, lingerMs } = TIMES): void {
  app.addHook('onRequest', async ({ raw, routeOptions }, reply) => {
    const { 'content-length': length = '0', 'transfer-encoding': encoding } = raw.headers
    if (length === '0' && encoding === undefined) return
    const cut = () => {
      if (raw.complete) return
      const late = Object.assign(new Error('the body came too slowly'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
      // As Node does where a whole request takes too long.
      if (reply.raw.headersSent || !app.server.emit('clientError', late, raw.socket)) raw.socket.destroy()
    }
    const cutAfter = (ms: number) => {
      const timer = setTimeout(cut, ms).unref()
      raw.once('close', () => clearTimeout(timer))
    }
    cutAfter(routeOptions.config.bodyTimeMs ?? bodyMs)
    reply.raw.once('finish', () => raw.complete || cutAfter(lingerMs))
  })
}
