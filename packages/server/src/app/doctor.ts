import { existsSync, statSync } from 'node:fs'
import path from 'node:path'
import { homePaths } from '../config/home-paths.ts'
import { describeLacks, findLacks, type LoadedSettings } from '../config/load-settings.ts'
import { secretStoresOf } from '../config/secret-stores.ts'
import { SETTING_VARIABLES } from '../config/setting-catalogue.ts'
import type { Settings } from '../config/settings.ts'
import { countStuckCallbacks } from '../control/callbacks.ts'
import { listWaitingServices } from '../control/explain-wait.ts'
import { PROFILE_RULES } from '../domain/profiles.ts'
import { createPool, type Database } from '../platform/db/database.ts'
import { describeDatabase } from '../platform/db/describe-database.ts'
import { requireCurrentSchema } from '../platform/db/require-current-schema.ts'
import { openSigningKey } from '../platform/crypto/signing-key.ts'
import { findOsUser } from '../platform/process/os-user.ts'
import { listEnvironments } from '../sandbox/environments/installed-environments.ts'
import { findSigningKey } from './find-signing-key.ts'
import { API_USER, DATABASE_USER, WORKER_USER } from './prepare-home.ts'
import { examineEngine } from './examine-engine.ts'
import { examineFacade } from './facade-rules.ts'
import { type IsolationProbe, probeIsolation } from './probe-isolation.ts'

const MIN_NODE_MAJOR = 24
/** A unix socket's address is 108 bytes with its NUL; the longest name below run/ is PostgreSQL's. */
const MAX_HOME_LENGTH = 107 - '/run/postgres/.s.PGSQL.54320.lock'.length

type Environment = Readonly<Record<string, string | undefined>>

export interface Finding {
  check: string
  ok: boolean
  /** What was found, in words. */
  detail: string
  /** What to do, when it is not ok. */
  remedy: string | null
  /** False for what only concerns some commands: it does not make the host unfit. */
  isEssential: boolean
}

/** Looks at everything the worker and the sandbox need, before any job has to find out. Starts nothing that stays. */
export async function examineHost({ settings, sources }: LoadedSettings, env: Environment): Promise<Finding[]> {
  return [
    examineNode(),
    examineUsers(),
    examineHome(settings),
    ...(await examineIsolation(settings)),
    await examineEnvironments(settings),
    ...examineProfile({ settings, sources }),
    ...(await examineDatabase({ settings, sources })),
    ...(await examineRegistry(settings, env)),
    await examineEngine(settings),
    await examineSigningKey(settings),
    ...examineFacade(settings),
    ...examineSettings(settings, sources),
  ]
}

function examineNode(): Finding {
  const isNew = Number(process.versions.node.split('.')[0]) >= MIN_NODE_MAJOR
  return finding(
    'node',
    isNew,
    `Node ${process.versions.node}`,
    `Ergon needs Node ${MIN_NODE_MAJOR} or newer: bin/setup installs it`,
  )
}

function examineUsers(): Finding {
  const missing = [WORKER_USER, DATABASE_USER, API_USER].filter((name) => findOsUser(name) === null)
  if (process.getuid?.() !== 0) return finding('os users', true, 'not root: everything runs as the present user', null)
  return finding(
    'os users',
    missing.length === 0,
    missing.length === 0 ? `${WORKER_USER}, ${DATABASE_USER} and ${API_USER}` : `missing: ${missing.join(', ')}`,
    `run bin/setup, or: ${missing.map((name) => `useradd --system --user-group --no-create-home --shell /usr/sbin/nologin ${name}`).join('; ')}`,
  )
}

function examineHome({ home }: Settings): Finding {
  if (home.length > MAX_HOME_LENGTH) {
    return finding(
      'data folder',
      false,
      `${home} is ${home.length} characters long, too long for the sockets in it`,
      `choose an ERGON_HOME of at most ${MAX_HOME_LENGTH} characters`,
    )
  }
  const closed = process.getuid?.() === 0 ? findClosedParent(home) : null
  return finding(
    'data folder',
    closed === null,
    closed === null ? home : `other users cannot pass through ${closed}`,
    `chmod o+x ${closed}, or choose another ERGON_HOME`,
  )
}

/** The topmost existing folder on the way that the users of database, worker and sandboxes cannot enter, or null. */
function findClosedParent(folder: string): string | null {
  const parts = folder.split(path.sep)
  for (let length = 1; length <= parts.length; length++) {
    const parent = parts.slice(0, length).join(path.sep) || path.sep
    if (existsSync(parent) && (statSync(parent).mode & 0o001) === 0) return parent
  }
  return null
}

/** Asks sandboxd itself, which really tries each thing: as root, or as an ordinary user in a delegated cgroup. */
export async function examineIsolation(settings: Settings): Promise<Finding[]> {
  const probe = await probeIsolation(settings)
  const { kernel, python, rootless, cgroup, missing } = probe
  if (missing.length > 0)
    return missing.map(({ capability, detail, remedy }) => finding(`sandbox: ${capability}`, false, detail, remedy))
  return [
    finding(
      'sandbox',
      true,
      `kernel ${kernel}, cgroup ${cgroup.layout} (${cgroup.controllers.join(', ')}), python ${python}${rootless ? ', not root' : ''}`,
      null,
    ),
    examineRuntime(settings, probe),
    {
      ...finding(
        'sandbox uplink',
        probe.uplink.lack === null,
        probe.uplink.lack ?? 'slirp4netns, for shell services with network_access all',
        'only services with network_access all need it, and are refused without',
      ),
      isEssential: false,
    },
  ]
}

function examineRuntime({ sandboxRuntime }: Settings, { runtimes }: IsolationProbe): Finding {
  const found = runtimes.map(({ name, version }) => `${name} ${version}`).join(', ') || 'none'
  return finding(
    'sandbox runtime',
    runtimes.some(({ name }) => name === sandboxRuntime),
    `${sandboxRuntime} of ${found}`,
    `apt-get install ${sandboxRuntime}, or choose another one with ${SETTING_VARIABLES.sandboxRuntime}`,
  )
}

async function examineEnvironments(settings: Settings): Promise<Finding> {
  const installed = await listEnvironments(homePaths(settings).environments)
  const detail = installed.length === 0 ? 'none is built' : [...new Set(installed.map(({ name }) => name))].join(', ')
  return finding('environments', installed.length > 0, detail, 'ergon env build python-sci')
}

/** What workers of the profile need beyond its database, which is looked at itself. */
function examineProfile(loaded: LoadedSettings): Finding[] {
  const lacks = findLacks(loaded).filter(({ setting }) => setting !== 'databaseUrl')
  if (lacks.length === 0) return []
  const variables = lacks.map(({ setting }) => SETTING_VARIABLES[setting]).join(', ')
  return [finding('profile', false, describeLacks(loaded.settings, lacks), `set ${variables}`)]
}

async function examineDatabase(loaded: LoadedSettings): Promise<Finding[]> {
  const { databaseUrl } = loaded.settings
  const lacks = findLacks(loaded).filter(({ setting }) => setting === 'databaseUrl')
  if (lacks.length > 0) {
    const remedy = `set ${SETTING_VARIABLES.databaseUrl} to your PostgreSQL`
    return [finding('database', false, describeLacks(loaded.settings, lacks), remedy)]
  }
  if (databaseUrl === null) return [finding('database', true, 'embedded PostgreSQL, started when needed', null)]
  const db = createPool(databaseUrl, { maxConnections: 1, applicationName: 'ergon-doctor' })
  try {
    await requireCurrentSchema(db, databaseUrl)
    return [
      finding('database', true, describeDatabase(databaseUrl), null),
      await examineQueue(db),
      await examineCallbacks(db),
    ]
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return [finding('database', false, reason, 'see the message; `ergon migrate` brings the schema up to date')]
  } finally {
    await db.end()
  }
}

/** Concerns jobs, not this host, so it makes no host unfit. */
async function examineQueue(db: Database): Promise<Finding> {
  const waiting = await listWaitingServices(db)
  const told = waiting.map(({ service, lane, jobs, reason }) => `${jobs} of ${service} on lane ${lane}: ${reason}`)
  const detail = waiting.length === 0 ? 'no due job is kept waiting' : told.join('; ')
  const remedy = 'start a worker for what none serves (`ergon worker`), or raise the limits in the registry'
  return { ...finding('queue', waiting.length === 0, detail, remedy), isEssential: false }
}

async function examineCallbacks(db: Database): Promise<Finding> {
  const { failed, unregistered } = await countStuckCallbacks(db)
  const detail =
    failed + unregistered === 0
      ? 'none waits for somebody'
      : `${failed} failed in every attempt, ${unregistered} wait for a function to be registered`
  const remedy = '`ergon callbacks list` shows them, `ergon callbacks retry` runs one again'
  return { ...finding('callbacks', failed + unregistered === 0, detail, remedy), isEssential: false }
}

/** Concerns only those who use a registry, so it makes no host unfit. */
async function examineRegistry(settings: Settings, env: Environment): Promise<Finding[]> {
  const { registry: file, profile } = settings
  if (file === null) return []
  const remedy = `ergon validate-config ${file}`
  try {
    // Here, since the checker of schemas takes 0.2 s to load.
    const { openRegistry } = await import('../control/registry-file.ts')
    const services = (await openRegistry({ file, profile })).summaries()
    const unserved = services.filter((service) => !service.has_runner)
    const names = unserved.map((service) => `${service.name} (${service.display_name})`).join(', ')
    const detail = `${services.length} services in ${file}${names === '' ? '' : `; no runner serves ${names}: their jobs are never claimed`}`
    return [
      { ...finding('service registry', unserved.length === 0, detail, remedy), isEssential: false },
      await examineReferences(settings, file, env),
    ]
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n')
    return [{ ...finding('service registry', false, reason ?? '', remedy), isEssential: false }]
  }
}

/** Asks for every variable, file, script and secret that the services name, as this command's user and in its environment. */
async function examineReferences(settings: Settings, file: string, env: Environment): Promise<Finding> {
  const { findMissingReferences } = await import('../control/registry-file.ts')
  const outside = { env, secretStores: secretStoresOf(settings) }
  const missing = await findMissingReferences({ file, profile: settings.profile }, outside)
  const told = missing.map(({ line, path: where, message }) => `line ${line}, ${where}: ${message}`).join('; ')
  const remedy = 'give whoever starts workers what is missing: they refuse the registry until then'
  const detail = missing.length === 0 ? 'all that services name is there' : told
  return { ...finding('registry references', missing.length === 0, detail, remedy), isEssential: false }
}

/** Jobs run without it too, so it makes no host unfit; in production nobody should find out by an audit that nothing was sealed. */
async function examineSigningKey(settings: Settings): Promise<Finding> {
  const paths = homePaths(settings)
  const remedy = `openssl genpkey -algorithm ed25519 -out ${paths.signingKey} && chmod 600 ${paths.signingKey}, or name another file with ${SETTING_VARIABLES.signingKeyFile}`
  try {
    const pem = await findSigningKey(settings, paths)
    if (pem !== null)
      return { ...finding('audit seals', true, `signed by ${openSigningKey(pem).keyId}`, null), isEssential: false }
    const isMadeLater = PROFILE_RULES[settings.profile].makesSigningKey
    const detail = isMadeLater
      ? 'no signing key yet: ergon dev makes one'
      : 'off: there is no signing key, and nothing of the audit trail is sealed by workers of this machine'
    return { ...finding('audit seals', isMadeLater, detail, remedy), isEssential: false }
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    return { ...finding('audit seals', false, detail, remedy), isEssential: false }
  }
}

function examineSettings(settings: Settings, sources: LoadedSettings['sources']): Finding[] {
  return (Object.keys(SETTING_VARIABLES) as (keyof Settings)[]).map((key) => {
    const shown =
      (key === 'databaseUrl' || key === 'callbackDatabaseUrl') && settings[key] !== null
        ? '(set)'
        : String(settings[key] ?? '') || 'none'
    return {
      check: `setting ${SETTING_VARIABLES[key]}`,
      ok: true,
      detail: `${shown} (${sources[key]})`,
      remedy: null,
      isEssential: false,
    }
  })
}

function finding(check: string, ok: boolean, detail: string, remedy: string | null): Finding {
  return { check, ok, detail, remedy: ok ? null : remedy, isEssential: true }
}
