import type { Settings } from './settings.ts'

/** The environment variable of each setting. */
export const SETTING_VARIABLES = {
  profile: 'ERGON_PROFILE',
  home: 'ERGON_HOME',
  cache: 'ERGON_CACHE',
  environments: 'ERGON_ENVIRONMENTS',
  databaseUrl: 'DATABASE_URL',
  callbackDatabaseUrl: 'ERGON_CALLBACK_DATABASE_URL',
  sandboxRuntime: 'ERGON_SANDBOX_RUNTIME',
  executorPolicy: 'ERGON_EXECUTOR_POLICY',
  registry: 'ERGON_REGISTRY',
  acceptedRisks: 'ERGON_ACCEPTED_RISKS',
  signingKeyFile: 'ERGON_SIGNING_KEY_FILE',
  debianMirror: 'ERGON_DEBIAN_MIRROR',
  debianSecurityMirror: 'ERGON_DEBIAN_SECURITY_MIRROR',
  dockerHost: 'ERGON_DOCKER_HOST',
  dockerCertPath: 'ERGON_DOCKER_CERT_PATH',
  secretCommand: 'ERGON_SECRET_COMMAND',
  vaultAddress: 'ERGON_VAULT_ADDRESS',
  vaultTokenFile: 'ERGON_VAULT_TOKEN_FILE',
  dockerSshKeyFile: 'ERGON_DOCKER_SSH_KEY_FILE',
  dockerSshKnownHosts: 'ERGON_DOCKER_SSH_KNOWN_HOSTS',
  apiListen: 'ERGON_API_LISTEN',
  apiFacade: 'ERGON_API_FACADE',
  apiFacadeHosts: 'ERGON_API_FACADE_HOSTS',
  apiCorsOrigins: 'ERGON_API_CORS_ORIGINS',
  apiTrustedProxies: 'ERGON_API_TRUSTED_PROXIES',
  serverUrl: 'ERGON_URL',
  tokenFile: 'ERGON_TOKEN_FILE',
  logLevel: 'ERGON_LOG_LEVEL',
} as const satisfies Record<keyof Settings, string>

/** One sentence on each setting, for docs/settings.md. */
export const SETTING_SUMMARIES = {
  profile: 'development (the default), staging or production: see [Profiles](#profiles). Isolation is the same in all.',
  home: 'Data folder: database, artifacts, credentials. By default /var/lib/ergon for root, else below XDG_DATA_HOME.',
  cache: 'Cache folder; all in it can be made again. By default /var/cache/ergon for root, else below XDG_CACHE_HOME.',
  environments: 'Where environments are; by default the folder environments in the data folder.',
  databaseUrl:
    "The application's PostgreSQL, version 15 or newer. Without it an embedded server runs in the data folder.",
  callbackDatabaseUrl:
    'For `ergon worker` with a DATABASE_URL: the same database, for a login of the group ergon_callback, to run callbacks with. Without it that worker runs none; `ergon dev` makes a login of its own.',
  sandboxRuntime:
    'The OCI runtime that starts sandboxes: crun (the default), runc, or runsc (gVisor). Verdicts and evidence of the first two are the same, crun starts sooner; SECURITY.md says what gVisor adds and what it cannot count.',
  executorPolicy:
    'JSON: what the built-in executor service lets its jobs have, see the job contract; limits that it leaves out are those of the profile. For instance {"limits":{"memory_mb":1024},"on_output_limit":"truncate"}.',
  registry:
    'The service registry, a YAML file; `--registry` of a command comes before it. Without one, or with none, there is only the built-in executor service.',
  acceptedRisks:
    'Rules of `ergon security-check`, with commas between them, whose findings of high severity workers run with all the same. Without it production refuses a registry that has one, staging warns of it, development leaves it to the command.',
  signingKeyFile:
    'The Ed25519 private key, PEM, mode 0600, that signs the seals of the audit trail. By default credentials/signing-key.pem of the data folder, which `ergon dev` makes in development; without one nothing is sealed.',
  debianMirror: 'Debian mirror that environments are built from; by default deb.debian.org.',
  debianSecurityMirror: 'Mirror of Debian’s security updates for environments; by default deb.debian.org.',
  dockerHost:
    'The Docker engine that docker jobs run on: unix:///run/docker.sock, tcp://HOST:PORT with ERGON_DOCKER_CERT_PATH, or ssh://USER@HOST[:PORT] with ERGON_DOCKER_SSH_KEY_FILE and ERGON_DOCKER_SSH_KNOWN_HOSTS. Without it docker jobs are not served. Whoever may use an engine is root on its machine: see SECURITY.md.',
  dockerCertPath: 'Folder with ca.pem, cert.pem and key.pem for an engine at tcp://; without them none is used there.',
  dockerSshKeyFile:
    'The private key, mode 0600 and without a passphrase, that signs in to an engine at ssh://. There `docker system dial-stdio` is run.',
  dockerSshKnownHosts:
    'The known_hosts file (sshd(8)) with the key of the host of an engine at ssh://. A host with another key is not talked to, and none is ever added.',
  secretCommand:
    'The program that prints a secret, its name being the only argument, for `…_vault: exec:NAME` of a registry. It and its folders belong to root or to whoever starts workers, and nobody else may write there. Asked when a registry is read and every five minutes.',
  vaultAddress:
    'The server of `…_vault: vault:MOUNT/PATH#FIELD`: HashiCorp Vault, OpenBao or what else has the key-value API of version 2. https://, but for an address of this machine’s loopback.',
  vaultTokenFile: 'The file with the token for that server, read at each question, so that an agent may renew it.',
  apiListen:
    'Where `ergon api` and `ergon dev` serve the API: HOST:PORT, by default 127.0.0.1:4680, or none. TLS is a proxy’s: see docs/api.md.',
  apiFacade:
    'Whether POST /execute/python is served: on, off, or auto (the default), which is on for `ergon dev` on a loopback address and off for all else. See docs/facade.md.',
  apiFacadeHosts:
    'HOST or HOST:PORT with commas between them: what the Host header of facade requests without a token may be, beside localhost, 127.0.0.1 and [::1] with the port that the API listens on. Without a port, any port.',
  apiCorsOrigins:
    'Origins whose web pages may call the API, with commas between them, such as https://app.example.org. By default none.',
  apiTrustedProxies:
    'Addresses or networks of proxies in front of the API, with commas between them, whose X-Forwarded-For tells who calls. By default none.',
  serverUrl:
    'A server’s API, such as https://ergon.example.org: `run`, `call`, `jobs`, `artifacts` and `services` are about its jobs then, and nothing runs here. https://, but for an address of this machine’s loopback. The token is ERGON_TOKEN, or the content of ERGON_TOKEN_FILE. See docs/client.md.',
  tokenFile: 'The file with the token for that server, where ERGON_TOKEN is not set.',
  logLevel:
    'silent, error, warn, info or debug; by default that of the profile. Logs are JSON lines on standard error.',
} as const satisfies Record<keyof Settings, string>
