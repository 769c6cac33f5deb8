/** Where one node was taken for all. */
export const CLUSTER_NODE_MEND =
  'This is a node of a Redis Cluster: name some of its nodes in REDIS_CLUSTER_NODES, and no URL'

/** What Redis says when it cannot work for us, and what to do about it. */
const MENDS: readonly (readonly [says: RegExp, mend: string])[] = [
  [
    /WRONGPASS|NOAUTH|invalid.*password/i,
    'Give the user and password that Redis takes: REDIS_USERNAME and REDIS_PASSWORD, or in REDIS_URL',
  ],
  [
    /NOPERM|can't run this command/,
    'Give the Redis user the rights that docs/operations.md lists: ACL SETUSER on Redis; nothing needs a restart',
  ],
  [/DB index/i, 'Name a database that this Redis has: REDIS_DB, or the number at the end of REDIS_URL'],
  [/OOM/, 'Raise maxmemory of Redis, or make room in it'],
  [/MISCONF/, 'Redis cannot write to its disk: look at the disk, and at the log of Redis'],
  [/READONLY/, 'This is a replica: point REDIS_URL at the master, or name it through REDIS_SENTINELS'],
  [/BUSY/, 'A script does not end: SCRIPT KILL on Redis'],
  [/max number of clients/, 'Raise maxclients of Redis, or end clients that nobody needs (CLIENT LIST)'],
  [/LOADING/, 'Wait: Redis is reading its data from disk'],
  [/MOVED \d|CROSSSLOT/, CLUSTER_NODE_MEND],
  [/EPIPE|ECONNRESET/, 'Redis ends the connection at once: look at its log, at maxclients and at the network to it'],
  [/CLUSTERDOWN/, 'Bring the shard back, or give its slots to another: redis-cli --cluster check'],
]

/** How to mend a store that is degraded, by its detail; `otherwise`, where what it says names no cause. */
export const storeMend = (detail: string, otherwise: string): string =>
  MENDS.find(([says]) => says.test(detail))?.[1] ?? otherwise
