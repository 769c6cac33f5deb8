/** Those who want to be told. What one of them throws is warned of; it ends neither this process nor the telling of the others. */
export class Listeners<T> {
  private readonly all = new Set<(told: T) => void>()

  get size(): number {
    return this.all.size
  }

  /** Returns how to stop; that answers whether it had not been stopped. */
  add(listener: (told: T) => void): () => boolean {
    this.all.add(listener)
    return () => this.all.delete(listener)
  }

  tell(told: T): void {
    for (const listener of this.all) {
      try {
        listener(told)
      } catch (error) {
        process.emitWarning(`a listener failed: ${(error as Error)?.stack ?? error}`, 'ApiBouncerWarning')
      }
    }
  }
}
