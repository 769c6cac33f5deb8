import { type ClientDetail, policySchema } from '@api-bouncer/limiter/contracts'
import { describe, expect, it } from 'vitest'
import { ownAddresses, wouldRefuse } from './own-address.ts'

const auth = policySchema.parse({ id: 'auth', match: '/auth/*', limits: [{ limit: 30, window: '1m' }] })

/** A client that has used 25 of 30 per minute under auth. */
const detail = (more: Partial<ClientDetail> = {}): ClientDetail => ({
  client: '127.0.0.1',
  at: 0,
  usage: [
    {
      policy: 'auth',
      mode: 'enforce',
      algorithm: 'sliding_window',
      match: ['/auth/*'],
      limits: [{ limit: 30, windowMs: 60_000, remaining: 5, resetAfterMs: 1 }],
    },
  ],
  violations: {},
  refusals: [],
  offences: 0,
  ...more,
})
const asked = (changes: object, more?: Partial<ClientDetail>) =>
  wouldRefuse({ client: async () => detail(more) }, ['127.0.0.1'], [policySchema.parse({ ...auth, ...changes })])

describe("the operator's own addresses", () => {
  it.each([
    [{}, ['127.0.0.1']],
    [{ SSH_CLIENT: '203.0.113.9 50022 22' }, ['127.0.0.1', '203.0.113.9']],
    [{ SSH_CLIENT: '2001:db8::1 50022 22' }, ['127.0.0.1', '2001:db8::1']],
    [{ SSH_CLIENT: 'nonsense' }, ['127.0.0.1']],
    [{ SSH_CLIENT: '' }, ['127.0.0.1']],
  ])('%j', (env, expected) => {
    expect(ownAddresses(env)).toEqual(expected)
  })

  it('are refused by a limit that they have already used', async () => {
    expect(await asked({ limits: [{ limit: 20, window: '1m' }] })).toEqual([
      '127.0.0.1, this machine, has used 25 in the last 1m; auth would allow 20',
    ])
  })

  it.each<[string, object, Partial<ClientDetail>?]>([
    ['a limit that is not reached', { limits: [{ limit: 26, window: '1m' }] }],
    ['another window, which starts afresh', { limits: [{ limit: 20, window: '1h' }] }],
    ['another algorithm, which starts afresh', { limits: [{ limit: 20, window: '1m' }], algorithm: 'fixed_window' }],
    ['a trial', { limits: [{ limit: 20, window: '1m' }], mode: 'shadow' }],
    ['an allowlisted address', { limits: [{ limit: 20, window: '1m' }] }, { allowlisted: '127.0.0.0/8' }],
  ])('are not refused by %s', async (_, changes, more) => {
    expect(await asked(changes, more)).toEqual([])
  })

  it('do not stand in the way when nothing is known of them', async () => {
    const control = { client: () => Promise.reject(new Error('no')) }
    expect(await wouldRefuse(control, ['127.0.0.1'], [auth])).toEqual([])
  })
})
