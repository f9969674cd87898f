/** The login roles that a test may act as, beside the administrator. */
export const TEST_ROLES = ['ergon_worker', 'ergon_api', 'ergon_enqueue', 'ergon_callback'] as const
export type TestRole = (typeof TEST_ROLES)[number]
