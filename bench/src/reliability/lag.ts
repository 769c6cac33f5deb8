import { readFileSync } from 'node:fs'

const LOOK_MS = 5

/** The event loop was late by so much at this moment, epoch ms. */
export interface Stall {
  readonly at: number
  readonly ms: number
}

/** How long this thread could have run and the machine ran others instead, ms; where that is not told, all that it did not run. */
function starvedMs(): number {
  try {
    return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]) / 1e6
  } catch {
    const { user, system } = process.cpuUsage()
    return performance.now() - (user + system) / 1000
  }
}

/** Looks all the time how late the event loop is: because the machine kept its processor from it, or by its own doing. */
export class LagWatch {
  machine: Stall[] = []
  own: Stall[] = []
  private readonly timer: NodeJS.Timeout
  private seen = performance.now()
  private starved = starvedMs()

  constructor() {
    this.timer = setInterval(() => this.look(), LOOK_MS).unref()
  }

  /** What there was since the last time. */
  take(): { machine: Stall[]; own: Stall[] } {
    const { machine, own } = this
    this.machine = []
    this.own = []
    return { machine, own }
  }

  close(): void {
    clearInterval(this.timer)
  }

  private look(): void {
    const [now, starved] = [performance.now(), starvedMs()]
    const late = now - this.seen - LOOK_MS
    const machine = Math.max(0, Math.min(late, starved - this.starved))
    const at = performance.timeOrigin + now
    if (machine > 1) this.machine.push({ at, ms: machine })
    if (late - machine > 1) this.own.push({ at, ms: late - machine })
    this.seen = now
    this.starved = starved
  }
}

export const longest = (stalls: readonly Stall[]): number => Math.max(0, ...stalls.map(({ ms }) => ms))

/** How much of this span was spent in stalls, ms. */
export function stalledWithin(stalls: readonly Stall[], from: number, to: number): number {
  let sum = 0
  for (const { at, ms } of stalls) sum += Math.max(0, Math.min(at, to) - Math.max(at - ms, from))
  return sum
}
