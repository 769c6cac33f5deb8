/**
 * Misra-Gries ("Finding repeated elements", 1982): the most frequent clients in bounded memory. A count is too low by at
 * most total / size; whoever made more than that share of the requests is always among them.
 */
export class Top {
  private counts = new Map<string, number>()
  private readonly size: number

  constructor(size: number) {
    this.size = size
  }

  add(client: string): void {
    const count = this.counts.get(client)
    if (count !== undefined) this.counts.set(client, count + 1)
    else if (this.counts.size < this.size) this.counts.set(client, 1)
    else {
      for (const [other, n] of this.counts) {
        if (n === 1) this.counts.delete(other)
        else this.counts.set(other, n - 1)
      }
    }
  }

  /** The busiest `n`, and starts afresh. */
  take(n: number): { client: string; count: number }[] {
    const all = [...this.counts].map(([client, count]) => ({ client, count }))
    this.counts = new Map()
    return all.sort((a, b) => b.count - a.count).slice(0, n)
  }
}
