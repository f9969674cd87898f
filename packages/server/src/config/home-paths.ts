import path from 'node:path'

/** Every folder and file that Ergon has for itself, in one place. */
export interface HomePaths {
  home: string
  /** Sockets and pid files of running processes. */
  run: string
  sandboxdSocket: string
  /** Where commands of the same ERGON_HOME find the running stack. */
  stackSocket: string
  artifacts: string
  spool: string
  /** Uploads on their way, of the API's user. */
  apiSpool: string
  environments: string
  credentials: string
  /** The key that `ergon dev` makes where no other one is named. */
  signingKey: string
  log: string
  /** Where the worker sees the program's own files, whatever folder they were installed in. */
  code: string
  /** Where the worker sees Node, wherever it is installed. */
  node: string
}

export function homePaths({ home, environments }: { home: string; environments: string }): HomePaths {
  const run = path.join(home, 'run')
  return {
    home,
    run,
    sandboxdSocket: path.join(run, 'sandboxd.sock'),
    stackSocket: path.join(run, 'stack.sock'),
    artifacts: path.join(home, 'artifacts'),
    spool: path.join(home, 'spool'),
    apiSpool: path.join(home, 'api-spool'),
    environments,
    credentials: path.join(home, 'credentials'),
    signingKey: path.join(home, 'credentials', 'signing-key.pem'),
    log: path.join(home, 'log'),
    code: path.join(run, 'code'),
    node: path.join(run, 'node'),
  }
}
