/** Columns of the table, in characters; 0: left out. */
export interface Layout {
  readonly client: number
  readonly rate: number
  readonly bar: number
  readonly used: number
  readonly policy: number
  readonly state: number
}

const GAP = 2
const [RATE, USED, STATE, LEAST_CLIENT] = [7, 9, 16, 15] as const

/** What fits into a width: the client and how it stands always, then the rate, what it has used, the bar, the policy. */
export function layoutOf(columns: number): Layout {
  let rest = columns - STATE - GAP - LEAST_CLIENT
  const take = (width: number, gap = GAP) => {
    if (rest < width + gap) return 0
    rest -= width + gap
    return width
  }
  const rate = take(RATE)
  const used = take(USED)
  const bar = used && take(8, 1)
  const policy = bar && take(10)
  const client = LEAST_CLIENT + Math.min(25, rest)
  const left = rest - (client - LEAST_CLIENT)
  return { client, rate, used, bar: bar && bar + Math.min(12, left), policy, state: STATE }
}
