import type { Logger } from '@api-bouncer/limiter'

const TELL_MS = 60_000

/**
 * The wrong tokens that were sent, counted for /metrics and said in the log: the first at once, those that follow together,
 * once a minute. The tokens themselves are kept nowhere: most are right ones with a slip.
 */
export class WrongTokens {
  /** Since the start. */
  total = 0
  private untold = 0
  private last = 'unknown'
  private resting: NodeJS.Timeout | undefined
  private readonly logger: Pick<Logger, 'warn'>

  constructor(logger: Pick<Logger, 'warn'>) {
    this.logger = logger
  }

  /** `from`: the address of the socket. */
  add(from: string | undefined): void {
    this.total++
    this.untold++
    this.last = from ?? 'unknown'
    if (!this.resting) this.tell()
  }

  private tell(): void {
    this.resting = undefined
    if (this.untold === 0) return
    const what = this.untold === 1 ? 'a wrong token' : `${this.untold} wrong tokens, the last one`
    this.untold = 0
    this.logger.warn(`the control plane was sent ${what} from ${this.last}`)
    this.resting = setTimeout(() => this.tell(), TELL_MS).unref()
  }
}
