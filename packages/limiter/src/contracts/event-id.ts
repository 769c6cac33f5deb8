/** Compares two ids of events, which are ids of a Redis stream (`MS-NTH`): below 0 when `a` is the older. */
export function compareIds(a: string, b: string): number {
  const [msA = 0, seqA = 0] = a.split('-').map(Number)
  const [msB = 0, seqB = 0] = b.split('-').map(Number)
  return msA - msB || seqA - seqB
}
