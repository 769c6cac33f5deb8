import { describe, expect, it } from 'vitest'
import { misspelt, readConfig, SETTINGS } from './config.ts'

describe('settings', () => {
  it('have defaults that need nothing else', () => {
    expect(readConfig({ HOME: '/home/x', XDG_STATE_HOME: '/state' })).toEqual({
      dataPlane: { port: 8000, host: undefined },
      admin: { port: 8900, host: '127.0.0.1', token: undefined, viewerToken: undefined, allowedHosts: [] },
      trustProxy: 'loopback',
      clientIpHeader: undefined,
      ipv6Prefix: 64,
      algorithm: 'sliding_window',
      failMode: 'open',
      maxClients: 100_000,
      redis: undefined,
      instance: undefined,
      workers: 1,
      penalty: undefined,
      policiesFile: undefined,
      logLevel: 'info',
      stateDir: '/state/api-bouncer',
    })
  })

  it.each([
    [{ PORT: '0' }, { dataPlane: { port: 0 } }],
    [{ PORT: ' 9000 ' }, { dataPlane: { port: 9000 } }],
    [{ PORT: '' }, { dataPlane: { port: 8000 } }],
    [{ DATA_PLANE: 'off', PORT: '8900' }, { dataPlane: undefined }],
    [{ TRUST_PROXY: 'false' }, { trustProxy: false }],
    [{ TRUST_PROXY: '2' }, { trustProxy: 2 }],
    [{ TRUST_PROXY: 'loopback, 10.0.0.0/8' }, { trustProxy: 'loopback, 10.0.0.0/8' }],
    [{ CLIENT_IP_HEADER: 'X-Real-IP' }, { clientIpHeader: 'x-real-ip' }],
    [{ RATE_LIMIT_ALGORITHM: 'gcra' }, { algorithm: 'gcra' }],
    [{ VIOLATION_THRESHOLD: '10' }, { penalty: { threshold: 10 } }],
    [{ VIOLATION_WINDOW: '90' }, { penalty: { window: '90s' } }],
    [{ BLOCK_DURATION: '3600' }, { penalty: { block: ['1h'] } }],
    [{ BLOCK_DURATION: '15m, 1h,24h' }, { penalty: { block: ['15m', '1h', '1d'] } }],
    [
      { ADMIN_HOST: '0.0.0.0', ADMIN_TOKEN: 'a-s3cret-of-ours' },
      { admin: { host: '0.0.0.0', token: 'a-s3cret-of-ours' } },
    ],
    [{ ADMIN_HOST: '::1' }, { admin: { host: '::1' } }],
    [
      { REDIS_URL: 'rediss://u:p@r:1/2' },
      {
        redis: { url: 'rediss://u:p@r:1/2', prefix: 'api_bouncer', deadline: '50ms', expectedInstances: 1 },
      },
    ],
    [{ REDIS_URL: 'redis://r', REDIS_PASSWORD: 's' }, { redis: { url: 'redis://r', password: 's' } }],
    [
      { REDIS_HOST: 'r', REDIS_DB: '3', REDIS_USERNAME: 'u', REDIS_PASSWORD: 'p', REDIS_TLS: 'on' },
      { redis: { host: 'r', db: 3, username: 'u', password: 'p', tls: true } },
    ],
    [{ REDIS_PORT: '6380' }, { redis: { host: '127.0.0.1', port: 6380 } }],
    [{ REDIS_CLUSTER_NODES: 'a:1, [::1]:2' }, { redis: { cluster: ['a:1', '[::1]:2'] } }],
    [
      { REDIS_SENTINELS: 'a,b:1', REDIS_SENTINEL_NAME: 'm', REDIS_SENTINEL_PASSWORD: 's', REDIS_PASSWORD: 'p' },
      { redis: { sentinels: ['a', 'b:1'], sentinelName: 'm', sentinelPassword: 's', password: 'p' } },
    ],
    [
      { REDIS_URL: 'redis://r', KEY_PREFIX: 'x', DECISION_DEADLINE: '20ms', EXPECTED_INSTANCES: '4', WORKERS: '8' },
      { redis: { prefix: 'x', deadline: '20ms', expectedInstances: 4 }, workers: 8 },
    ],
    [
      { KEY_PREFIX: 'x', DECISION_DEADLINE: '20ms', INSTANCE: 'api-1' },
      { redis: undefined, instance: 'api-1' },
    ],
    [{ RATE_LIMIT_ALGORITM: 'nobody reads this' }, { algorithm: 'sliding_window' }],
  ])('%j is understood', (env: Record<string, string>, expected) => {
    expect(readConfig(env)).toMatchObject(expected)
  })

  it.each([
    [{ PORT: '80a' }, 'PORT: "80a" is not a port (0 to 65535). For example: PORT=8000'],
    [{ PORT: '-1' }, 'PORT: "-1" is not a port'],
    [{ PORT: '65536' }, 'PORT: "65536" is not a port'],
    [{ PORT: '1e3' }, 'PORT: "1e3" is not a port'],
    [{ ADMIN_PORT: '8000' }, 'ADMIN_PORT: 8000 is the PORT of the data plane'],
    [{ ADMIN_HOST: '0.0.0.0' }, 'ADMIN_TOKEN: must be set when the control plane is reachable'],
    [{ ADMIN_HOST: '::' }, 'ADMIN_TOKEN: must be set'],
    [{ ADMIN_TOKEN: 'a b' }, 'ADMIN_TOKEN: must be printable ASCII without spaces'],
    [{ ADMIN_READONLY_TOKEN: 'a b' }, 'ADMIN_READONLY_TOKEN: must be printable ASCII without spaces'],
    [
      { ADMIN_TOKEN: 'the-same-for-both', ADMIN_READONLY_TOKEN: 'the-same-for-both' },
      'ADMIN_READONLY_TOKEN: is the ADMIN_TOKEN, which may do',
    ],
    [
      { ADMIN_TOKEN: 'fifteen-letters' },
      'ADMIN_TOKEN: must have at least 16 characters. For example: ADMIN_TOKEN=$(openssl rand -hex 32)',
    ],
    [
      { ADMIN_READONLY_TOKEN: 'a' },
      'ADMIN_READONLY_TOKEN: must have at least 16 characters. For example: ADMIN_READONLY_TOKEN=$(openssl rand -hex 32)',
    ],
    [{ ADMIN_ALLOWED_HOSTS: 'a.example:8900' }, 'ADMIN_ALLOWED_HOSTS: "a.example:8900" is not a list of host names'],
    [{ TRUST_PROXY: 'true' }, 'TRUST_PROXY: true lets every client choose its own address'],
    [{ TRUST_PROXY: 'lopback' }, 'TRUST_PROXY: invalid IP address: lopback'],
    [{ CLIENT_IP_HEADER: 'x real' }, 'CLIENT_IP_HEADER: "x real" is not the name of a header'],
    [
      { CLIENT_IP_HEADER: 'x-real-ip', TRUST_PROXY: 'false' },
      'CLIENT_IP_HEADER: is never read while TRUST_PROXY is false',
    ],
    [
      { RATE_LIMIT_ALGORITHM: 'token-bucket' },
      'RATE_LIMIT_ALGORITHM: "token-bucket" is unknown (did you mean "token_bucket"?)',
    ],
    [{ RATE_LIMIT_ALGORITHM: 'xyz' }, 'RATE_LIMIT_ALGORITHM: "xyz" is unknown (known: sliding_window, token_bucket'],
    [{ VIOLATION_THRESHOLD: '0' }, 'VIOLATION_THRESHOLD: "0" is not a number of violations (1 to 1000)'],
    [{ VIOLATION_WINDOW: '5 fortnights' }, 'VIOLATION_WINDOW: "5 fortnights" is not a duration (write 250ms'],
    [{ BLOCK_DURATION: '15m,,1h' }, 'BLOCK_DURATION: "" is not a duration'],
    [{ BLOCK_DURATION: '1ms' }, 'BLOCK_DURATION: "1ms" is out of range'],
    [{ FAIL_MODE: 'opne' }, 'FAIL_MODE: "opne" is unknown (did you mean "open"?)'],
    [{ IPV6_PREFIX: '129' }, 'IPV6_PREFIX: "129" is not a prefix length (32 to 128)'],
    [{ MAX_CLIENTS: '5' }, 'MAX_CLIENTS: "5" is not a number of clients'],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL: "loud" is unknown'],
    [{ DATA_PLANE: 'no' }, 'DATA_PLANE: "no" is unknown (known: on, off)'],
    [{ PORT: 'x', LOG_LEVEL: 'y' }, '(also wrong: LOG_LEVEL)'],
    [{ REDIS_URL: 'localhost:6379' }, 'REDIS_URL: is not redis://user:password@host:port/db, or rediss:// for TLS'],
    [{ REDIS_URL: 'redis://r/x' }, 'REDIS_URL: is not redis://'],
    [
      { REDIS_URL: 'redis://r', REDIS_CLUSTER_NODES: 'r' },
      'REDIS_CLUSTER_NODES: REDIS_URL already says where Redis is',
    ],
    [{ REDIS_URL: 'redis://r', REDIS_HOST: 'r' }, 'REDIS_HOST: REDIS_URL already says where Redis is'],
    [{ REDIS_URL: 'redis://r', REDIS_PORT: '1' }, 'REDIS_PORT: REDIS_URL already says where Redis is'],
    [{ REDIS_HOST: 'r', REDIS_SENTINELS: 'r' }, 'REDIS_SENTINELS: REDIS_HOST already says where Redis is'],
    [{ REDIS_URL: 'redis://r/1', REDIS_DB: '2' }, 'REDIS_DB: REDIS_URL says it too'],
    [{ REDIS_URL: 'rediss://r', REDIS_TLS: 'off' }, 'REDIS_TLS: is off, but rediss:// in REDIS_URL is TLS'],
    [{ REDIS_PORT: 'tcp://10.0.0.1:6379' }, 'REDIS_PORT: is not a port (1 to 65535). For example: REDIS_PORT=6379'],
    [{ REDIS_PASSWORD: 'p' }, 'REDIS_PASSWORD: is set, but nothing says where Redis is. Set REDIS_URL'],
    [{ REDIS_CLUSTER_NODES: 'r', REDIS_DB: '1' }, 'REDIS_DB: a Redis Cluster has database 0 only'],
    [{ REDIS_CLUSTER_NODES: 'r:99999' }, 'REDIS_CLUSTER_NODES: is not a list of host:port'],
    [{ REDIS_SENTINELS: 'r' }, 'REDIS_SENTINEL_NAME: is missing'],
    [{ REDIS_URL: 'redis://r', REDIS_SENTINEL_NAME: 'm' }, 'REDIS_SENTINEL_NAME: is only for REDIS_SENTINELS'],
    [{ KEY_PREFIX: '{x}' }, 'KEY_PREFIX: is not a key prefix'],
    [{ DECISION_DEADLINE: '50' }, 'DECISION_DEADLINE: "50" is out of range'],
    [{ EXPECTED_INSTANCES: '0' }, 'EXPECTED_INSTANCES: "0" is not a number of instances'],
    [{ INSTANCE: 'a b' }, 'INSTANCE: "a b" is not a name'],
    [{ WORKERS: '2' }, 'WORKERS: 2 processes share no memory'],
    [
      { WORKERS: '2', REDIS_URL: 'redis://r', DATA_PLANE: 'off' },
      'WORKERS: serve the data plane, and DATA_PLANE is off',
    ],
  ])('%j is refused on one line that names it', (env: Record<string, string>, message) => {
    expect(() => readConfig(env)).toThrow(message)
    expect(() => readConfig(env)).toThrow(/^[^\n]+$/)
  })

  it.each([
    { REDIS_URL: 'redis://:hunter2%@r' },
    { REDIS_URL: 'http://:hunter2@r' },
    { REDIS_URL: 'redis://:hunter2@r:x' },
    { REDIS_URL: 'redis://:hunter2@r/x' },
    { REDIS_URL: 'redis://:hunter2@r', REDIS_PASSWORD: 'hunter2' },
    { REDIS_HOST: 'redis://:hunter2@r' },
    { REDIS_PORT: 'redis://:hunter2@r' },
    { REDIS_DB: 'redis://:hunter2@r' },
    { REDIS_CLUSTER_NODES: 'redis://:hunter2@r:1' },
    { REDIS_CLUSTER_NODES: ':hunter2@r:1' },
    { REDIS_SENTINELS: 'redis://:hunter2@r:1', REDIS_SENTINEL_NAME: 'm' },
    { REDIS_SENTINEL_PASSWORD: 'hunter2' },
    { KEY_PREFIX: 'redis://:hunter2@r' },
  ])('never repeat a password, wherever it stands: %j', (env: Record<string, string>) => {
    let message = ''
    try {
      readConfig(env)
    } catch (error) {
      message = (error as Error).message
    }
    expect(message).toMatch(/^(REDIS|KEY)_/)
    expect(message).not.toContain('hunter2')
  })
})

it.each([
  ['VIOLATION_TRESHOLD', 'VIOLATION_THRESHOLD'],
  ['MAX_CLIENT', 'MAX_CLIENTS'],
  ['FAILMODE', 'FAIL_MODE'],
  ['trust_proxy', 'TRUST_PROXY'],
  ['RATE_LIMIT_ALGORITM', 'RATE_LIMIT_ALGORITHM'],
])('%s is taken for a slip of %s', (name, meant) => {
  expect(misspelt({ [name]: '1' })).toEqual([{ name, meant }])
})

it('takes nothing for a slip that is a setting, or nobody’s', () => {
  const others =
    'PATH HOME USER HOSTNAME LOGNAME TERM NODE_ENV LOG_FORMAT HTTP_PORT npm_config_user_agent REDIS_PORT_6379_TCP'
  const known = Object.fromEntries([...SETTINGS, ...others.split(' ')].map(name => [name, 'x']))
  expect(misspelt(known)).toEqual([])
})
