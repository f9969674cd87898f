import { NO_REGISTRY, type Settings } from './settings.ts'
import { SETTING_VARIABLES } from './setting-catalogue.ts'
import { withoutToken } from './server-token.ts'

/** The environment of a child that is the same user's own process: ours, with the settings spelt out. */
export function childEnvironment(settings: Settings, env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return {
    ...withoutToken(env),
    [SETTING_VARIABLES.serverUrl]: '',
    [SETTING_VARIABLES.tokenFile]: '',
    [SETTING_VARIABLES.profile]: settings.profile,
    [SETTING_VARIABLES.home]: settings.home,
    [SETTING_VARIABLES.cache]: settings.cache,
    [SETTING_VARIABLES.environments]: settings.environments,
    [SETTING_VARIABLES.logLevel]: settings.logLevel,
    [SETTING_VARIABLES.sandboxRuntime]: settings.sandboxRuntime,
    [SETTING_VARIABLES.executorPolicy]: settings.executorPolicy ?? '',
    [SETTING_VARIABLES.registry]:
      settings.registry ?? (env[SETTING_VARIABLES.registry] === NO_REGISTRY ? NO_REGISTRY : ''),
    [SETTING_VARIABLES.dockerHost]: settings.dockerHost ?? '',
    [SETTING_VARIABLES.dockerCertPath]: settings.dockerCertPath ?? '',
    [SETTING_VARIABLES.dockerSshKeyFile]: settings.dockerSshKeyFile ?? '',
    [SETTING_VARIABLES.dockerSshKnownHosts]: settings.dockerSshKnownHosts ?? '',
    [SETTING_VARIABLES.acceptedRisks]: settings.acceptedRisks.join(','),
    [SETTING_VARIABLES.signingKeyFile]: settings.signingKeyFile ?? '',
    [SETTING_VARIABLES.secretCommand]: settings.secretCommand ?? '',
    [SETTING_VARIABLES.vaultAddress]: settings.vaultAddress ?? '',
    [SETTING_VARIABLES.vaultTokenFile]: settings.vaultTokenFile ?? '',
    [SETTING_VARIABLES.apiListen]: settings.apiListen ?? 'none',
    [SETTING_VARIABLES.apiFacade]: settings.apiFacade,
    [SETTING_VARIABLES.apiFacadeHosts]: settings.apiFacadeHosts.join(','),
    [SETTING_VARIABLES.apiCorsOrigins]: settings.apiCorsOrigins.join(','),
    [SETTING_VARIABLES.apiTrustedProxies]: settings.apiTrustedProxies.join(','),
    [SETTING_VARIABLES.databaseUrl]: settings.databaseUrl ?? '',
    [SETTING_VARIABLES.callbackDatabaseUrl]: settings.callbackDatabaseUrl ?? '',
  }
}
