/**
 * Counter states of one client, by Limit.counter. Nearly every client has one counter only: that one is kept in place, which
 * spares a Map a client (a third of its memory) and two look-ups a check.
 */
export class Counters {
  private name: string | undefined
  private state: unknown
  private others: Map<string, unknown> | undefined

  get(name: string): unknown {
    return name === this.name ? this.state : this.others?.get(name)
  }

  set(name: string, state: unknown): void {
    if (this.name === undefined || this.name === name) {
      this.name = name
      this.state = state
    } else {
      this.others ??= new Map()
      this.others.set(name, state)
    }
  }

  names(): string[] {
    return this.name === undefined ? [] : [this.name, ...(this.others?.keys() ?? [])]
  }

  clear(): void {
    this.name = undefined
    this.state = undefined
    this.others = undefined
  }
}
