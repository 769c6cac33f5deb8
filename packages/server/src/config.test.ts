import { describe, expect, it } from 'vitest'
import { readConfig } from './config.ts'

describe('settings', () => {
  it('have defaults that need nothing else', () => {
    expect(readConfig({ HOME: '/home/x', XDG_STATE_HOME: '/state' })).toEqual({
      dataPlane: { port: 8000, host: undefined },
      admin: { port: 8900, host: '127.0.0.1', token: undefined },
      trustProxy: 'loopback',
      clientIpHeader: undefined,
      ipv6Prefix: 64,
      algorithm: 'sliding_window',
      failMode: 'open',
      maxClients: 100_000,
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
    [{ ADMIN_HOST: '0.0.0.0', ADMIN_TOKEN: 's3cret' }, { admin: { host: '0.0.0.0', token: 's3cret' } }],
    [{ ADMIN_HOST: '::1' }, { admin: { host: '::1' } }],
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
    [{ DATA_PLANE: 'no' }, 'DATA_PLANE: "no" is unknown'],
    [{ PORT: 'x', LOG_LEVEL: 'y' }, '(also wrong: LOG_LEVEL)'],
  ])('%j is refused on one line that names it', (env: Record<string, string>, message) => {
    expect(() => readConfig(env)).toThrow(message)
    expect(() => readConfig(env)).toThrow(/^[^\n]+$/)
  })
})
