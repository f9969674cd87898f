import { readFileSync } from 'node:fs'

export interface OsUser {
  name: string
  uid: number
  gid: number
}

/** The local user of that name, or null; only /etc/passwd is read, since set-up creates the users there. */
export function findOsUser(name: string): OsUser | null {
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [user, , uid, gid] = line.split(':')
    if (user === name) return { name, uid: Number(uid), gid: Number(gid) }
  }
  return null
}
