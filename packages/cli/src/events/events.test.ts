import { BouncerError, type BouncerEvent, type EventPage } from '@api-bouncer/limiter/contracts'
import { describe, expect, it } from 'vitest'
import { follow } from './follow.ts'
import { eventLine, wanted } from './line.ts'

const base = (ms: number, prev: number) => ({
  id: `${ms}-0`,
  prev: prev === 0 ? '0-0' : `${prev}-0`,
  at: ms,
  instance: 'api-1',
})
const settings = (ms: number, prev: number): BouncerEvent => ({
  ...base(ms, prev),
  type: 'settings-changed',
  by: 'ops',
})
const gone = new BouncerError('ERR_UNAVAILABLE', 'connection refused')

/** Follows answers given one after the other; ends when there are no more. */
async function followed(answers: readonly (EventPage | Error)[], after = '1-0', seen = true) {
  const [told, waits, queue]: [unknown[], number[], (EventPage | Error)[]] = [[], [], [...answers]]
  const events: string[] = []
  const over = new Error('over')
  const stream = follow({
    after,
    seen,
    read: async () => {
      const answer = queue.shift() ?? over
      if (answer instanceof Error) throw answer
      return answer
    },
    wait: async ms => {
      waits.push(ms)
    },
    cutOff: reason => told.push(reason),
  })
  try {
    for await (const event of stream) events.push(event.type === 'gap' ? `gap ${event.after} ${event.id}` : event.id)
  } catch (error) {
    if (error !== over) throw error
  }
  return { events, told, waits }
}

describe('following events', () => {
  it('goes on after the last one, and waits when there is nothing new', async () => {
    const { events, waits, told } = await followed([
      { events: [settings(2, 1), settings(3, 2)], gap: false },
      { events: [], gap: false },
      { events: [settings(4, 3)], gap: false },
    ])
    expect(events).toEqual(['2-0', '3-0', '4-0'])
    expect(waits).toEqual([500, 500, 500])
    expect(told).toEqual([])
  })

  it('puts a gap where the log says that some are lost', async () => {
    expect((await followed([{ events: [settings(9, 8)], gap: true }])).events).toEqual(['gap 1-0 8-0', '9-0'])
  })

  it('puts a gap where a log started anew, which cannot know', async () => {
    expect((await followed([{ events: [settings(9, 0)], gap: false }])).events).toEqual(['gap 1-0 1-0', '9-0'])
  })

  it('sees no gap after a time, which is the id of no event', async () => {
    expect((await followed([{ events: [settings(9, 0)], gap: false }], '5-0', false)).events).toEqual(['9-0'])
  })

  it('says once that it is cut off, asks less and less often, and misses nothing', async () => {
    const { events, told, waits } = await followed([
      gone,
      gone,
      gone,
      gone,
      gone,
      gone,
      { events: [settings(2, 1)], gap: false },
    ])
    expect(events).toEqual(['2-0'])
    expect(told).toEqual(['connection refused', undefined])
    expect(waits).toEqual([500, 1000, 2000, 4000, 5000, 5000, 500])
  })

  it('ends at an error that waiting does not mend', async () => {
    await expect(followed([new BouncerError('ERR_UNAUTHORISED', 'no')])).rejects.toThrow('no')
  })

  it('takes page after page while it is behind', async () => {
    const page = (from: number) => Array.from({ length: 1000 }, (_, i) => settings(from + i, from + i - 1))
    const { events, waits } = await followed([
      { events: page(2), gap: false },
      { events: page(1002), gap: false },
      { events: [], gap: false },
    ])
    expect(events).toHaveLength(2000)
    expect(waits).toEqual([500])
  })
})

const isMeant = (client: string) => client === '1.2.3.4'
const block = { client: '1.2.3.4', reason: '5 violations within 5m', since: 0, until: 900_000, offence: 1, by: 'auto' }
const clock = (at: number) => new Date(at).toISOString().slice(11, 19)

describe('an event in words', () => {
  it.each<[BouncerEvent, string]>([
    [
      {
        ...base(1, 0),
        type: 'violation',
        client: '1.2.3.4',
        policy: 'auth',
        route: 'GET /a',
        count: 12,
        violations: 3,
      },
      'limited 1.2.3.4 ×12 · auth · GET /a',
    ],
    [
      { ...base(1, 0), type: 'blocked', client: '1.2.3.4', block: { ...block, policy: 'auth' } },
      'blocked 1.2.3.4 for 15m · 5 violations within 5m · auth',
    ],
    [
      {
        ...base(1, 0),
        type: 'blocked',
        client: '1.2.3.4',
        block: { ...block, reason: 'manual', offence: 2, by: 'ann', until: 90_500 },
      },
      'blocked 1.2.3.4 for 1m 31s · manual · 2nd offence · by ann',
    ],
    [
      { ...base(1, 0), type: 'unblocked', client: '1.2.3.4', by: 'ann', reason: 'a mistake', lifted: ['5 violations'] },
      'unblocked 1.2.3.4 · lifted: 5 violations · by ann: a mistake',
    ],
    [
      { ...base(1, 0), type: 'policy-changed', policy: 'auth', version: 4, action: 'put', by: 'ann' },
      'policy auth v4 · by ann',
    ],
    [
      { ...base(1, 0), type: 'policy-changed', policy: 'auth', version: 5, action: 'deleted', by: 'ann' },
      'policy auth deleted · by ann',
    ],
    [
      { ...base(1, 0), type: 'list-changed', list: 'deny', cidr: '10.0.0.0/8', action: 'added', by: 'ann' },
      'deny 10.0.0.0/8 added · by ann',
    ],
    [settings(1, 0), 'settings changed · by ops'],
    [
      { ...base(1, 0), type: 'store-state', state: 'degraded', detail: 'Redis at x: gone' },
      'store degraded · Redis at x: gone',
    ],
    [
      { ...base(61_000, 60_000), type: 'gap', after: '1000-0', prev: '1000-0' },
      'gap events between 00:00:01 and 00:01:01 are lost · they are no longer kept',
    ],
    [
      { ...base(61_000, 0), id: '1000-0', prev: '1000-0', type: 'gap', after: '1000-0' },
      'gap events between 00:00:01 and 00:01:01 are lost · the log started anew, as the embedded one does with its server',
    ],
    [
      { ...base(1, 0), type: 'overflow', dropped: { violation: 300, blocked: 2 } },
      'overflow not told one by one: 300 violation, 2 blocked',
    ],
  ])('%j', (event, text) => {
    const { verb, says } = eventLine(event, clock)
    expect(`${verb} ${says}`).toBe(text)
  })

  it('is wanted by type, client and policy; a gap always', () => {
    const blocked: BouncerEvent = {
      ...base(1, 0),
      type: 'blocked',
      client: '1.2.3.4',
      block: { ...block, policy: 'a' },
    }
    expect(wanted(blocked, {})).toBe(true)
    expect(wanted(blocked, { types: ['blocked'], client: isMeant, policy: 'a' })).toBe(true)
    expect(wanted(blocked, { types: ['unblocked'] })).toBe(false)
    expect(wanted(blocked, { client: id => id === '1.2.3.5' })).toBe(false)
    expect(wanted(blocked, { policy: 'b' })).toBe(false)
    expect(wanted(settings(1, 0), { client: isMeant })).toBe(false)
    expect(wanted({ ...base(1, 0), type: 'gap', after: '1-0' }, { types: ['blocked'], client: () => false })).toBe(true)
  })
})
