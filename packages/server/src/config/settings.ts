import path from 'node:path'
import { z } from 'zod'
import { PROFILES } from '../domain/profiles.ts'
import { parseSandboxPolicy } from '../domain/sandbox-policy.ts'

/** What says that there is no registry, and that nobody forgot it. */
export const NO_REGISTRY = 'none'

/** What says that the API is not to be served. */
const NOT_SERVED = 'none'

/** A token goes along with every request: in clear only where nobody can listen. */
function findServerUrlProblem(text: string): string | null {
  const { protocol, hostname, username, password, search, hash } = new URL(text)
  if (username !== '' || password !== '') return 'expected no user or password; the token is ERGON_TOKEN'
  if (search !== '' || hash !== '') return 'expected nothing behind the path'
  const isLoopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname)
  return protocol === 'https:' || isLoopback ? null : 'expected https://, but for an address of this machine’s loopback'
}

function splitList(value: unknown): unknown {
  return typeof value === 'string' ? value.split(',').map((part) => part.trim()) : value
}

/** Every setting with the values it takes. */
export const settingsSchema = z.object({
  profile: z.enum(PROFILES),
  /** Data folder: database, artifacts, environments, credentials. */
  home: z.string().refine(path.isAbsolute, 'expected an absolute path'),
  /** Cache folder: everything in it can be made again. */
  cache: z.string().refine(path.isAbsolute, 'expected an absolute path'),
  /** Where environments are; `<home>/environments` unless several data folders share them. */
  environments: z.string().refine(path.isAbsolute, 'expected an absolute path'),
  /** The application's database, or null for the embedded one. */
  databaseUrl: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'expected a URL that begins with postgresql://')
    .nullable(),
  /** The same database, for a login of the group ergon_callback; null where `ergon dev` makes one. */
  callbackDatabaseUrl: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'expected a URL that begins with postgresql://')
    .nullable(),
  /** The OCI runtime that starts sandboxes. */
  sandboxRuntime: z.enum(['crun', 'runc', 'runsc']),
  /** The built-in `executor` service's policy as JSON, or null for the default. */
  executorPolicy: z
    .string()
    .superRefine((text, context) => {
      const parsed = parseSandboxPolicy(text)
      if (!parsed.ok) context.addIssue({ code: 'custom', message: parsed.problem })
    })
    .nullable(),
  /** The service registry file, or null for the built-in services alone. */
  registry: z.preprocess(
    (value) => (value === NO_REGISTRY ? null : value),
    z.string().refine(path.isAbsolute, 'expected an absolute path, or none').nullable(),
  ),
  /** Rules of `ergon security-check` whose high findings production runs with all the same. */
  acceptedRisks: z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',') : value),
    z.array(z.string().regex(/^[a-z-]+$/, 'expected names of rules with commas between them, such as wide-command')),
  ),
  /** The Ed25519 key that signs audit seals, or null for the one that `ergon dev` made in the data folder, if any. */
  signingKeyFile: z.string().refine(path.isAbsolute, 'expected an absolute path').nullable(),
  /** Debian mirrors that environments are built from; null is deb.debian.org. */
  debianMirror: z.url().nullable(),
  debianSecurityMirror: z.url().nullable(),
  /** The container engine of docker jobs, or null where none is served. Whoever may use it is root on its machine. */
  dockerHost: z
    .string()
    .regex(
      /^(unix:\/\/\/[^\s?#]+|tcp:\/\/[^\s/?#@]+:\d{1,5}|ssh:\/\/[^\s/?#@:]+@[^\s/?#@]+)$/,
      'expected unix:///PATH, tcp://HOST:PORT with certificates, or ssh://USER@HOST[:PORT] with a key, none of them with a password or a path',
    )
    .nullable(),
  /** Folder with the ca.pem, cert.pem and key.pem of an engine at tcp://. */
  dockerCertPath: z.string().refine(path.isAbsolute, 'expected an absolute path').nullable(),
  /** The program that prints secrets which registries name as `exec:NAME`, or null for none. */
  secretCommand: z.string().refine(path.isAbsolute, 'expected an absolute path').nullable(),
  /** The server of secrets which registries name as `vault:MOUNT/PATH#FIELD`, or null for none. */
  vaultAddress: z.url({ protocol: /^https?$/, error: 'expected a URL that begins with https://' }).nullable(),
  /** The file with the token that the server takes. */
  vaultTokenFile: z.string().refine(path.isAbsolute, 'expected an absolute path').nullable(),
  /** Private key and known_hosts file for an engine at ssh://. */
  dockerSshKeyFile: z.string().refine(path.isAbsolute, 'expected an absolute path').nullable(),
  dockerSshKnownHosts: z.string().refine(path.isAbsolute, 'expected an absolute path').nullable(),
  /** Where the API listens, or null where it is not served. */
  apiListen: z.preprocess(
    (value) => (value === NOT_SERVED ? null : value),
    z
      .string()
      .regex(
        /^(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):\d{1,5}$/,
        'expected HOST:PORT, for instance 127.0.0.1:4680, or none',
      )
      .nullable(),
  ),
  /** Whether the synchronous facade is served; auto: by `ergon dev` alone. */
  apiFacade: z.enum(['auto', 'on', 'off']),
  /** Names of this machine that callers of the facade without a token may use, beside those of the loopback. */
  apiFacadeHosts: z.preprocess(
    splitList,
    z.array(
      z
        .string()
        .regex(
          /^(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._-]+)(:\d{1,5})?$/,
          'expected HOST or HOST:PORT with commas between them, such as ergon.test:4680',
        ),
    ),
  ),
  /** Origins whose pages may call the API. */
  apiCorsOrigins: z.preprocess(
    splitList,
    z.array(
      z
        .string()
        .regex(/^https?:\/\/[^\s/?#@]+$/, 'expected origins with commas between them, such as https://app.example.org'),
    ),
  ),
  /** Proxies in front of the API whose X-Forwarded-For is believed. */
  apiTrustedProxies: z.preprocess(
    splitList,
    z.array(
      z
        .string()
        .regex(
          /^[0-9a-fA-F:.]+(\/\d{1,3})?$/,
          'expected addresses or networks with commas between them, such as 10.0.0.0/8',
        ),
    ),
  ),
  /** The server whose jobs commands are about, or null for the stack of this machine. */
  serverUrl: z
    .url({ protocol: /^https?$/, error: 'expected a URL that begins with https://' })
    .superRefine((text, context) => {
      const problem = findServerUrlProblem(text)
      if (problem !== null) context.addIssue({ code: 'custom', message: problem })
    })
    .nullable(),
  /** The file with the token for it. */
  tokenFile: z.string().refine(path.isAbsolute, 'expected an absolute path').nullable(),
  logLevel: z.enum(['silent', 'error', 'warn', 'info', 'debug']),
})
export type Settings = z.infer<typeof settingsSchema>
