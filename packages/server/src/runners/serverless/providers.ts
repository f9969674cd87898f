import type { ServerlessProvider } from '../../registry/check-serverless.ts'
import { aws } from './aws.ts'
import { gcp } from './gcp.ts'
import type { FunctionProvider } from './provider.ts'

/** Every provider that services can name. */
export const PROVIDERS = { aws, gcp } as const satisfies Record<ServerlessProvider, FunctionProvider>
