import type { ControlState, StatsFrame } from '../../contracts/index.ts'
import { MemoryAuditLog } from '../../control/audit.ts'
import { MemoryLedger } from '../../control/ledger.ts'
import { MemoryEventLog } from '../../events/event-log.ts'
import { MemoryHistory } from '../../stats/history.ts'
import type { Backend } from '../backend.ts'
import { memoryKeys } from './memory-keys.ts'
import { MemoryStore, type MemoryStoreOptions } from './memory-store.ts'

/** Everything in this process. */
export function memoryBackend(options: MemoryStoreOptions & { seed: ControlState; instance: string }): Backend {
  const store = new MemoryStore(options)
  const events = new MemoryEventLog(options.instance, () => store.now())
  const history = new MemoryHistory(() => store.now())
  const watching = new Set<(frame: StatsFrame) => void>()
  let newest: StatsFrame | undefined
  return {
    store,
    ledger: new MemoryLedger(options.seed, event => events.append(event)),
    events,
    audit: new MemoryAuditLog(),
    keys: memoryKeys(store),
    history,
    publish: frame => {
      newest = frame
      history.add(frame)
      for (const listener of watching) listener(frame)
    },
    fleet: () => (newest ? [newest] : []),
    watch(listener) {
      watching.add(listener)
      return () => watching.delete(listener)
    },
    countBlocks: () => store.countBlocks(),
    close: () => store.close(),
  }
}
