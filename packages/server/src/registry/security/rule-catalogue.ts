export const SEVERITIES = ['high', 'medium', 'low'] as const
export type Severity = (typeof SEVERITIES)[number]

interface Rule {
  /** The severities that findings of this rule can have. */
  severities: readonly Severity[]
  explanation: string
  fix: string
}

/** Every rule of `ergon security-check`, for its findings and for docs/security-check.md. Ids are never reused. */
export const SECURITY_RULES = {
  'refused-config': {
    severities: ['high'],
    explanation: 'A registry with this fault is refused by workers, or the fault hides what else is wrong.',
    fix: 'Correct the fault; `ergon validate-config` lists all of them.',
  },
  'registry-writable': {
    severities: ['high'],
    explanation: 'Whoever can write the registry decides what workers run and where secrets are sent.',
    fix: 'chmod go-w FILE, and let it belong to whoever starts the workers.',
  },
  'secret-in-clear': {
    severities: ['high'],
    explanation: 'A secret in the registry is in every copy, backup and version of the file.',
    fix: 'Write ${NAME}, or name a variable, a file or a secret of a vault (…_env_var, …_file, …_vault); then change the secret, since it has been seen.',
  },
  'wildcard-domain': {
    severities: ['high', 'medium'],
    explanation:
      'Every host below the wildcard can receive what the service sends, also hosts that others may register there.',
    fix: 'List the hosts that the service calls.',
  },
  'plain-http': {
    severities: ['high', 'medium'],
    explanation: 'Without TLS everyone on the way reads and changes requests and answers, credentials included.',
    fix: 'Use https:// in base_url.',
  },
  'private-network': {
    severities: ['high', 'medium'],
    explanation:
      'Requests may reach machines that trust their network; in a wide range those are machines nobody thought of.',
    fix: 'Name single addresses (ADDRESS/32), never loopback (but as the very address of base_url) or 169.254.0.0/16, where clouds hand out credentials.',
  },
  'wide-command': {
    severities: ['high'],
    explanation:
      'A shell, interpreter, package manager or launcher runs whatever its arguments say, so allowing it allows everything.',
    fix: 'Allow the one program that the service needs, by its absolute path.',
  },
  'loader-variable': {
    severities: ['high'],
    explanation: 'The variable makes programs load or run other code before their own.',
    fix: 'Take it out of environment.',
  },
  'network-access': {
    severities: ['medium'],
    explanation: 'The job can send what it reads to the internet.',
    fix: 'Use network_access none or localhost (shell), network_mode none (docker).',
  },
  'host-network': {
    severities: ['high'],
    explanation:
      "The container is in the machine's own network: it reaches every local service, and can listen in their place.",
    fix: 'Use network_mode none, or bridge with network_isolation: false.',
  },
  'file-access': {
    severities: ['low'],
    explanation: 'The job can write to its workspace and leave files there that others will open.',
    fix: 'Use file_access none or read where stdout is result enough; else state formats and max_artifacts.',
  },
  'mutable-image': {
    severities: ['high', 'medium'],
    explanation: 'A tag is another image tomorrow: whoever can push to the registry decides what runs here.',
    fix: 'Pin the image: NAME@sha256:DIGEST.',
  },
  'wildcard-image': {
    severities: ['high', 'medium'],
    explanation: 'Images are allowed that nobody has looked at.',
    fix: 'List the images, pinned by digest.',
  },
  'writable-mount': {
    severities: ['high'],
    explanation: 'The container can change files of the host, and leave programs where others run them.',
    fix: 'Use mode: ro, and take results as artifacts.',
  },
  'sensitive-mount': {
    severities: ['high'],
    explanation: 'The folder or socket gives control over the host, or shows its secrets.',
    fix: 'Mount a folder that was made for this service.',
  },
  'long-lived-key': {
    severities: ['medium'],
    explanation: 'A static access key is valid until somebody remembers it.',
    fix: 'Use iam_role, service_account or default_credentials.',
  },
  'missing-limit': {
    severities: ['medium', 'low'],
    explanation: 'Without its own limit one service can use what all of them share.',
    fix: 'State the limit that the service really needs.',
  },
  'missing-input-schema': {
    severities: ['low'],
    explanation: 'The operation takes any input; what is wrong is found late, or not at all.',
    fix: 'Describe the input in input_schema.',
  },
} as const satisfies Record<string, Rule>
export type SecurityRule = keyof typeof SECURITY_RULES
