import type { FacadeRules } from '../api/facade/facade-rules.ts'
import { isLoopback } from '../api/facade/find-refusal.ts'
import { SETTING_VARIABLES } from '../config/setting-catalogue.ts'
import type { Settings } from '../config/settings.ts'
import { executorPolicyOf } from '../domain/profiles.ts'
import type { Finding } from './doctor.ts'
import { splitAddress } from './split-address.ts'

interface Place {
  /** HOST:PORT. */
  listen: string
  isDev: boolean
}

/** The facade that an API process is to serve, or null. What nobody asked for is never open to other machines, nor to whom a proxy lets in. */
export function facadeRulesOf(settings: Settings, place: Place): FacadeRules | null {
  const isOn =
    settings.apiFacade === 'on' ||
    (settings.apiFacade === 'auto' && place.isDev && isLocal(place.listen) && settings.apiTrustedProxies.length === 0)
  if (!isOn) return null
  return {
    hosts: settings.apiFacadeHosts,
    ceilings: executorPolicyOf(settings.profile, settings.executorPolicy).limits,
    seesEnvironments: settings.databaseUrl === null,
  }
}

/** What of the settings makes a facade without tokens wider than this machine and the pages that it trusts; of high severity each. */
function findOpenings(settings: Settings): string[] {
  const { apiFacade, apiListen, apiFacadeHosts, apiCorsOrigins, apiTrustedProxies } = settings
  if (apiFacade === 'off' || apiListen === null) return []
  const openings: string[] = []
  if (apiFacade === 'on' && !isLocal(apiListen))
    openings.push(`${SETTING_VARIABLES.apiListen} is ${apiListen}, which other machines reach`)
  if (apiFacade === 'on' && apiTrustedProxies.length > 0)
    openings.push(
      `${SETTING_VARIABLES.apiTrustedProxies} names ${apiTrustedProxies.join(', ')}: what a proxy on this machine passes on comes from the loopback`,
    )
  const wideHosts = apiFacadeHosts.filter((host) => !isLocal(host))
  if (wideHosts.length > 0)
    openings.push(
      `${SETTING_VARIABLES.apiFacadeHosts} names ${wideHosts.join(', ')}: pages of whoever rules such a name may call`,
    )
  const wideOrigins = apiCorsOrigins.filter(isWideOrigin)
  if (wideOrigins.length > 0)
    openings.push(
      `${SETTING_VARIABLES.apiCorsOrigins} names ${wideOrigins.join(', ')}: whoever is on the way to such a page can write it`,
    )
  return openings
}

/** Concerns the API and no sandbox, so it makes no host unfit; each opening is of high severity. */
export function examineFacade(settings: Settings): Finding[] {
  const openings = findOpenings(settings)
  const isOk = openings.length === 0
  const detail = isOk
    ? `${settings.apiFacade}: without a token only callers on this machine, and pages of listed origins`
    : `high: the synchronous facade runs code without a token, and ${openings.join('; ')}`
  const remedy = `set ${SETTING_VARIABLES.apiFacade} to off, or take that away; callers with tokens need none of it`
  return [{ check: 'facade', ok: isOk, detail, remedy: isOk ? null : remedy, isEssential: false }]
}

/** Without TLS anybody on the way can be that origin, unless there is no way. */
function isWideOrigin(origin: string): boolean {
  return origin.startsWith('http:') && !isLocal(origin.slice('http://'.length))
}

/** Whether HOST or HOST:PORT is a name of the loopback. */
function isLocal(address: string): boolean {
  const { host } = splitAddress(/:\d+$/.test(address) ? address : `${address}:0`)
  return host === 'localhost' || host.endsWith('.localhost') || isLoopback(host)
}
