import { Cluster, type Redis } from 'ioredis'
import type { KeyInfo } from '../../contracts/index.ts'
import type { KeyBrowser } from '../../control/keys.ts'
import { type Connection, OPERATOR_MS } from './connection.ts'
import { withTimeout } from './evaluate.ts'
import type { Keys } from './keys.ts'

/** A page stops looking after this time, however little it has found: its cursor goes on from there. */
const BUDGET_MS = 250
const SCAN_COUNT = 500

const time = (us: number) => new Date(us / 1000).toISOString()

/** What kind of key it is, by its name. */
function kindOf(key: string, prefix: string): string {
  const parts = /^:([a-z_]+):\{(.*)\}(?::(.+):([^:]+))?$/.exec(key.slice(prefix.length))
  if (!parts) {
    const [, name] = /^:\{control\}:(.+)$/.exec(key.slice(prefix.length)) ?? []
    if (name === undefined) return 'unknown'
    const [, step, start] = /^stats:(\d+s):(\d+)$/.exec(name) ?? []
    return start === undefined ? `control state: ${name}` : `all requests in ${step} from ${time(Number(start) * 1e6)}`
  }
  const [, what, client, policy, window] = parts
  if (what === 'history') return `requests by the minute of ${client}`
  return policy === undefined ? `${what} of ${client}` : `${what} of ${client} under ${policy} (${window})`
}

/** Pages the keys of our prefix and says in words what each holds. Never KEYS, never an unbounded SCAN. */
export function redisKeys({ commands }: Connection, keys: Keys): KeyBrowser {
  const servers = (): Redis[] => (commands instanceof Cluster ? commands.nodes('master') : [commands])

  async function describe(key: string): Promise<KeyInfo | undefined> {
    const [type, ttlMs, bytes] = await Promise.all([
      commands.type(key),
      commands.pttl(key),
      commands.memory('USAGE', key),
    ])
    if (type === 'none') return undefined
    const { value, says } = await read(key, type)
    return {
      key,
      type,
      words: `${kindOf(key, keys.prefix)}: ${says}`,
      value,
      ...(ttlMs >= 0 && { ttlMs }),
      ...(typeof bytes === 'number' && { bytes }),
    }
  }

  async function read(key: string, type: string): Promise<{ value: unknown; says: string }> {
    switch (type) {
      case 'string': {
        const text = (await commands.get(key)) ?? ''
        return { value: text, says: text.slice(0, 200) }
      }
      case 'list': {
        const [length, first, last] = await Promise.all([
          commands.llen(key),
          commands.lindex(key, 0),
          commands.lindex(key, -1),
        ])
        if (first?.startsWith('{')) return { value: await commands.lrange(key, 0, 9), says: `${length} entries` }
        const value = (await commands.lrange(key, -20, -1)).map(Number)
        return { value, says: `${length} entries, ${time(Number(first))} to ${time(Number(last))}` }
      }
      case 'hash': {
        const [length, [, flat]] = await Promise.all([commands.hlen(key), commands.hscan(key, 0, 'COUNT', 100)])
        const value: Record<string, string> = {}
        for (let i = 0; i + 1 < flat.length && i < 200; i += 2) value[flat[i] as string] = flat[i + 1] as string
        const shown = Object.entries(value)
          .slice(0, 4)
          .map(([field, one]) => `${field}=${one.slice(0, 40)}`)
        return { value, says: `${length} fields: ${shown.join(', ')}` }
      }
      case 'zset': {
        const [length, value] = await Promise.all([commands.zcard(key), commands.zrange(key, '0', '19', 'WITHSCORES')])
        return { value, says: `${length} members` }
      }
      case 'stream': {
        const [length, value] = await Promise.all([commands.xlen(key), commands.xrevrange(key, '+', '-', 'COUNT', 5)])
        return { value, says: `${length} entries` }
      }
      default:
        return { value: undefined, says: type }
    }
  }

  return {
    async page(match, cursor, limit) {
      const nodes = servers()
      // The cursor of a Cluster names the node too: `2:1234`.
      let [node = 0, at = '0'] = cursor === '0' ? [] : [Number(cursor.split(':')[0]), cursor.split(':')[1] as string]
      const names: string[] = []
      const until = performance.now() + BUDGET_MS
      let first = true
      while (names.length < limit && node < nodes.length && (first || performance.now() < until)) {
        first = false
        const asked = match.startsWith(`${keys.prefix}:`) ? match : `${keys.prefix}:${match}`
        const [next, found] = await withTimeout(
          (nodes[node] as Redis).scan(at, 'MATCH', asked, 'COUNT', SCAN_COUNT),
          OPERATOR_MS,
        )
        names.push(...found)
        at = next
        if (next === '0') node++
      }
      const described = await withTimeout(Promise.all(names.map(describe)), OPERATOR_MS)
      return {
        keys: described.filter(info => info !== undefined),
        cursor: node >= nodes.length ? '0' : `${node}:${at}`,
      }
    },
    get: key =>
      withTimeout(key.startsWith(`${keys.prefix}:`) ? describe(key) : Promise.resolve(undefined), OPERATOR_MS),
    async delete(key) {
      return key.startsWith(`${keys.prefix}:`) && (await withTimeout(commands.del(key), OPERATOR_MS)) > 0
    },
  }
}
