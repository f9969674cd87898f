import type { BlockList } from 'node:net'
import {
  isPrivateAddress,
  isSameHost,
  isWithin,
  literalAddress,
  matchesDomain,
} from '../../registry/network-address.ts'
import { hasDotSegment } from './request-path.ts'

/** Where a service's requests may go. */
export interface DestinationPolicy {
  base: URL
  /** Exact names, `*.` patterns, or `*`. */
  domains: readonly string[]
  /** Private networks that the service may reach all the same. */
  networks: BlockList
}

/** A place that the policy refuses. */
export class DestinationDenied extends Error {
  readonly code: 'DOMAIN_DENIED' | 'PATH_DENIED' | 'ADDRESS_DENIED'

  constructor(code: DestinationDenied['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** Throws DestinationDenied for a URL that a request may not go to; names are asked for their addresses only later, on connecting. */
export function requireAllowedUrl(url: URL, { base, domains, networks }: DestinationPolicy): void {
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new DestinationDenied('DOMAIN_DENIED', `${url.protocol} is no scheme that requests are sent by`)
  if (base.protocol === 'https:' && url.protocol === 'http:')
    throw new DestinationDenied('DOMAIN_DENIED', `${url.origin} is not encrypted, and base_url is`)
  const { hostname } = url
  if (!domains.some((pattern) => matchesDomain(hostname, pattern)))
    throw new DestinationDenied('DOMAIN_DENIED', `${hostname} is not among the service's allowed_domains`)
  // Other ports of an allowed host are other services: a database beside the API, say.
  const port = isSameHost(hostname, base.hostname) ? base.port : ''
  if (url.port !== port)
    throw new DestinationDenied(
      'DOMAIN_DENIED',
      `${url.origin} is at another port than ${port === '' ? "its scheme's own" : port}`,
    )
  if (isOutsideOfBase(url, base))
    throw new DestinationDenied('PATH_DENIED', `${url.pathname.slice(0, 500)} is not below the path of base_url`)
  const address = literalAddress(hostname)
  if (address !== null) requireAllowedAddress(address, hostname, networks)
}

/**
 * Whether a URL is on base_url's host and not below its path, or could be by a server's reading: a service's base_url is
 * the part of a host that it may use, not only where its paths begin. The same host by another scheme, or with a last
 * dot, is the same host.
 */
export function isOutsideOfBase(url: URL, base: URL): boolean {
  const prefix = base.pathname.replace(/\/$/, '')
  if (!isSameHost(url.hostname, base.hostname) || prefix === '') return false
  const isBelow = url.pathname === prefix || url.pathname.startsWith(`${prefix}/`)
  return !isBelow || hasDotSegment(url.pathname)
}

/** Throws DestinationDenied for an address that is private and in no network that the policy names. */
export function requireAllowedAddress(address: string, hostname: string, networks: BlockList): void {
  if (!isPrivateAddress(address) || isWithin(address, networks)) return
  const which = address === hostname ? address : `${hostname} is ${address}, which`
  throw new DestinationDenied(
    'ADDRESS_DENIED',
    `${which} is a private address, in none of the service's allowed_networks`,
  )
}
