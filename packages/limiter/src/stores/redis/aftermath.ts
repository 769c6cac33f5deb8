import type { Block } from '../../contracts/index.ts'
import type { Refusal } from '../store.ts'

const FLUSH_MS = 100
const KEPT_REFUSALS = 10
/** Clients whose refusals are written a flush; of a greater flood only a sample is kept. */
const MAX_CLIENTS = 200

export interface Gathered {
  readonly refusals: ReadonlyMap<string, readonly Refusal[]>
  readonly blocks: readonly Block[]
}

/** What is written after the answers, in batches, never in their way: the last refusals of a client, and the index of blocks. */
export class Aftermath {
  private refusals = new Map<string, Refusal[]>()
  private blocks: Block[] = []
  private timer: NodeJS.Timeout | undefined
  private readonly write: (gathered: Gathered) => Promise<void>

  constructor(write: (gathered: Gathered) => Promise<void>) {
    this.write = write
  }

  refused(client: string, refusal: Refusal): void {
    const known = this.refusals.get(client)
    if (known) {
      known.push(refusal)
      if (known.length > KEPT_REFUSALS) known.shift()
    } else if (this.refusals.size < MAX_CLIENTS) this.refusals.set(client, [refusal])
    this.schedule()
  }

  drop(client: string): void {
    this.refusals.delete(client)
  }

  blocked(block: Block): void {
    if (this.blocks.length < 10_000) this.blocks.push(block)
    this.schedule()
  }

  async flush(): Promise<void> {
    clearTimeout(this.timer)
    this.timer = undefined
    const { refusals, blocks } = this
    if (refusals.size === 0 && blocks.length === 0) return
    this.refusals = new Map()
    this.blocks = []
    // For people only: what Redis does not take while it is ill is not worth keeping.
    await this.write({ refusals, blocks }).catch(() => {})
  }

  private schedule(): void {
    this.timer ??= setTimeout(() => void this.flush(), FLUSH_MS).unref()
  }
}
