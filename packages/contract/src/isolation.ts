/** `warm`: a child of a template that has imported the environment's libraries, where one is ready; `fresh`: a container of its own. */
export const ISOLATIONS = ['warm', 'fresh'] as const
export type Isolation = (typeof ISOLATIONS)[number]
