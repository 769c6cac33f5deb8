/** Of all that live, those that decide requests: the instances that a change has to reach. */
export const deciding = <T extends { readonly decides?: boolean | undefined }>(all: readonly T[]): T[] =>
  all.filter(({ decides = true }) => decides)
