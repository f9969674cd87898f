const DEFAULT_PORT = 22

/** Who signs in where, of ssh://USER@HOST[:PORT]. */
export function sshPlaceOf(url: string): { username: string; host: string; port: number } {
  const { username, hostname, port } = new URL(url)
  return {
    username: decodeURIComponent(username),
    host: hostname.replaceAll(/^\[|\]$/g, ''),
    port: port === '' ? DEFAULT_PORT : Number(port),
  }
}
