import { randomUUID } from 'node:crypto'
import { afterAll, describe, expect, test } from 'vitest'
import { ALGORITHMS } from '../../contracts/index.ts'
import { connectTo, endAll, ending, openBouncer } from './fleet.fixture.ts'
import { AS_LIMITER, documentedRules, RedisServer, startCluster, until } from './redis-server.fixture.ts'

afterAll(endAll)

const ann = { by: 'ann' }

describe('the user of docs/operations.md', () => {
  test('may do all that the limiter and its operators do, and nothing else is granted', async () => {
    const server = ending(await RedisServer.start(), one => one.stop())
    const admin = connectTo(server)
    const { bouncer, ask, peek } = openBouncer({
      redis: { url: server.url, deadline: '1s' },
      policies: [
        { id: 'single', match: '/single', limits: [{ limit: 2, window: '300ms' }] },
        ...ALGORITHMS.map(algorithm => ({
          id: algorithm,
          match: `/${algorithm}`,
          algorithm,
          limits: [
            { limit: 2, window: '300ms' },
            { limit: 5, window: '1h' },
          ],
        })),
      ],
      penalty: { threshold: 3 },
    })
    await until('counting', async () => (await ask('warm', '/gcra')).outcome === 'allowed')
    const { control, events } = bouncer
    for (const algorithm of ALGORITHMS) {
      const first = await ask('a', `/${algorithm}`)
      await ask('a', `/${algorithm}`)
      expect(await bouncer.refund(first)).toBe(1)
    }
    for (let i = 0; i < 8; i++) await ask('villain', '/sliding_window')
    // Two units that leave the log one by one, and a third that does not fit.
    const { at } = await ask('b', '/single')
    await until('half the window', () => Date.now() > at + 150)
    for (let i = 0; i < 2; i++) await ask('b', '/single')
    await until('one has left', async () => (await peek('b', '/single')).remaining === 1)
    await until('the list of blocks', async () => (await control.blocks()).total === 1)
    await control.client('villain')
    await control.block({ client: 'by-hand' }, ann)
    await control.unblock('villain', { grace: '1m' }, ann)
    await control.putPolicy({ id: 'extra', match: '/x', limits: [{ limit: 1, window: '1m' }] }, undefined, ann)
    await control.policyHistory('extra')
    await control.deletePolicy('extra', undefined, ann)
    await control.putListEntry('deny', '10.0.0.0/8', {}, ann)
    await control.deleteListEntry('deny', '10.0.0.0/8', ann)
    await control.putSettings({ ipv6Prefix: 56 }, ann)
    await control.audit({})
    await control.events({})
    await events.after('0-0', 10)
    await control.status()
    await control.diagnose()
    const { keys } = await control.keys({ limit: 1000 })
    expect(keys.length).toBeGreaterThan(10)
    await control.deleteKey(keys.find(({ key }) => key.includes(':token_bucket:'))?.key ?? '', ann)
    await bouncer.close()

    const refused = (await admin.acl('LOG')) as unknown[][]
    expect(refused.map(entry => `${entry[3]} ${entry[5]}: ${entry[7]}`)).toEqual([])
    // What is granted is what is used.
    const stats = await admin.info('commandstats')
    const used = new Set([...stats.matchAll(/cmdstat_([^:]+):/g)].map(([, name]) => name))
    const granted = documentedRules()
      .filter(rule => rule.startsWith('+'))
      .map(rule => rule.slice(1))
    expect(granted.filter(name => !used.has(name))).toEqual([])
  })

  test('serves a Cluster too, with what is added for one', async () => {
    const { nodes, endpoints } = ending(await startCluster(), one => one.stop())
    const admins = nodes.map(node => connectTo(node))
    const { bouncer, ask } = openBouncer({
      redis: { deadline: '1s', cluster: endpoints, ...AS_LIMITER },
    })
    await until('counting', async () => (await ask('a')).outcome === 'allowed' && bouncer.health().state === 'ok')
    for (let i = 0; i < 30; i++) expect((await ask(`c${i}`)).outcome).toBe('allowed')
    await until('the control state', async () => bouncer.epoch > 0 && (await bouncer.control.state()).epoch > 0)
    await bouncer.control.block({ client: 'by-hand' }, ann)
    expect((await bouncer.control.events({})).events.map(({ type }) => type)).toContain('blocked')
    for (const admin of admins) expect(((await admin.acl('LOG')) as unknown[][]).map(entry => entry[5])).toEqual([])
  })

  test('may not touch the keys of others', async () => {
    const server = ending(await RedisServer.start(), one => one.stop())
    const user = connectTo(server, AS_LIMITER)
    const own = `api_bouncer:${randomUUID()}`
    await user.set(own, '1')
    await expect(user.get('others')).rejects.toThrow(/NOPERM/)
    await expect(user.flushall()).rejects.toThrow(/NOPERM/)
    await expect(user.config('GET', 'requirepass')).rejects.toThrow(/NOPERM/)
    await expect(user.keys('*')).rejects.toThrow(/NOPERM/)
  })
})
