import type { ControlState, Diagnosis, StatsFrame } from '../../contracts/index.ts'
import { MemoryAuditLog } from '../../control/audit.ts'
import { MemoryLedger } from '../../control/ledger.ts'
import { MemoryEventLog } from '../../events/event-log.ts'
import { Listeners } from '../../listeners.ts'
import { MemoryHistory } from '../../stats/history.ts'
import type { Backend } from '../backend.ts'
import type { StoreHealth } from '../store.ts'
import { memoryKeys } from './memory-keys.ts'
import { MemoryStore, type MemoryStoreOptions } from './memory-store.ts'

/** Everything in this process. */
export function memoryBackend(options: MemoryStoreOptions & { seed: ControlState; instance: string }): Backend {
  const store = new MemoryStore(options)
  const events = new MemoryEventLog(options.instance, () => store.now())
  const history = new MemoryHistory(() => store.now())
  const ledger = new MemoryLedger(options.seed, event => events.append(event))
  const watching = new Listeners<StatsFrame>()
  let newest: StatsFrame | undefined
  return {
    store,
    ledger,
    events,
    audit: new MemoryAuditLog(),
    keys: memoryKeys(store),
    history,
    publish: frame => {
      newest = frame
      history.add(frame)
      watching.tell(frame)
    },
    // A change is in force when it is committed, not with the next frame.
    fleet: () => (newest ? [{ ...newest, epoch: ledger.load().epoch }] : []),
    watch: listener => watching.add(listener),
    diagnose: async () => [judgeRoom(store.health(), store.maxClients)],
    forget(client) {
      store.forgetRefusals(client)
      history.forget(client)
    },
    countBlocks: () => store.countBlocks(),
    close: () => store.close(),
  }
}

function judgeRoom({ clients = 0, forgotten = 0 }: StoreHealth, maxClients: number): Diagnosis {
  const about = 'embedded store'
  if (forgotten === 0) return { about, verdict: 'ok', says: `${clients} of at most ${maxClients} clients remembered` }
  return {
    about,
    verdict: 'problem',
    says: `a client had to be forgotten ${forgotten === 1 ? 'once' : `${forgotten} times`} while units, violations or a block of theirs counted: there is room for ${maxClients}, and limits do not hold for more`,
    mend: `Raise MAX_CLIENTS (maxClients), or use Redis, where every client has its place`,
  }
}
