/** `1 block`, `4 blocks`, `2 policies`. */
export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

/** Who has seen a change: `seen by 2 of 3 instances`. */
export const seenByText = ({ seen, of }: { readonly seen: number; readonly of: number }): string =>
  of === 0
    ? 'no instance is alive to see it; the next one that starts will'
    : `seen by ${seen} of ${count(of, 'instance')}`

/** `812`, `31.2`, `0.4`, `0`: three digits say enough. */
export const rate = (perSecond: number): string =>
  perSecond === 0 ? '0' : perSecond >= 99.95 ? String(Math.round(perSecond)) : perSecond.toFixed(1)
