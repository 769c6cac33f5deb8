import type { BouncerEvent } from '@api-bouncer/limiter'
import { describe, expect, it } from 'vitest'
import { account, type Refusal } from './told.ts'

const refusals = (client: string, times: readonly number[], instance = 'a'): Refusal[] =>
  times.map(at => ({ instance, client, at }))

const event = (at: number, client: string, count: number, instance = 'a') =>
  ({
    type: 'violation',
    id: `${at}-0`,
    prev: '0-0',
    at,
    instance,
    client,
    policy: 'p',
    route: 'GET /',
    count,
    violations: 1,
  }) as BouncerEvent

const none = { lost: 0, excused: 0, twice: 0, unheard: 0, surplus: 0 }

describe('refusals against the events that tell of them', () => {
  it('are told by the count, client by client and instance by instance', () => {
    const asked = [...refusals('x', [1, 2, 3]), ...refusals('y', [4])]
    expect(account(asked, { events: [event(5, 'x', 3), event(5, 'y', 1)], gaps: [] })).toEqual(none)
    expect(account(asked, { events: [event(5, 'x', 4)], gaps: [] })).toEqual({ ...none, lost: 1, surplus: 1 })
    expect(account(refusals('x', [1]), { events: [event(5, 'x', 1, 'b')], gaps: [] })).toEqual({
      ...none,
      lost: 1,
      surplus: 1,
    })
  })

  it('are forgiven inside of a marked gap only', () => {
    const gaps = [{ from: 100, to: 200 }]
    expect(account(refusals('x', [150, 300]), { events: [event(310, 'x', 1)], gaps })).toEqual({ ...none, excused: 1 })
    expect(account(refusals('x', [300, 301]), { events: [event(310, 'x', 1)], gaps })).toEqual({ ...none, lost: 1 })
  })

  it('are forgiven in the last moments of the instance that was killed, and of no other', () => {
    const excuses = [{ instance: 'a', from: 100, to: 200 }]
    const asked = [...refusals('x', [150]), ...refusals('x', [150], 'b')]
    expect(account(asked, { events: [], gaps: [] }, { excuses })).toEqual({ ...none, excused: 1, lost: 1 })
  })

  it('may be told as a number alone', () => {
    const overflow = { type: 'overflow', id: '9-0', prev: '0-0', at: 9, instance: 'a', dropped: { violation: 2 } }
    expect(account(refusals('x', [1, 2]), { events: [overflow as BouncerEvent], gaps: [] })).toEqual(none)
  })

  it('have a reason when more are told than were answered', () => {
    const repeated = { events: [event(5, 'x', 2), event(900, 'x', 2)], gaps: [] }
    expect(account(refusals('x', [1, 2]), repeated)).toEqual({ ...none, twice: 2 })
    const unheard = refusals('x', [3])
    expect(account(refusals('x', [1, 2]), { events: [event(5, 'x', 3)], gaps: [] }, { unheard })).toEqual({
      ...none,
      unheard: 1,
    })
  })
})
