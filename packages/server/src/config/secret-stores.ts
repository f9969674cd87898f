import type { Settings } from './settings.ts'

/** Where secrets are asked for that a registry names by provider. */
export function secretStoresOf({ secretCommand, vaultAddress, vaultTokenFile }: Settings) {
  return { command: secretCommand, vaultAddress, vaultTokenFile }
}
