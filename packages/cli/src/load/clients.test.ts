import { describe, expect, it } from 'vitest'
import { addressOf, crowd, generator, MAX_CLIENTS } from './clients.ts'

const counts = (size: number, attackers: number | undefined, requests: number, seed = 1) => {
  const people = crowd(size, attackers, generator(seed))
  const seen = new Array<number>(size).fill(0)
  const order = Array.from({ length: requests }, () => people.next())
  for (const client of order) seen[client] = (seen[client] as number) + 1
  return { seen, order }
}

describe('the clients of a run', () => {
  it('have distinct addresses of 198.18.0.0/15', () => {
    expect([0, 19, 254, 255, 65_534, 65_535].map(addressOf)).toEqual([
      '198.18.0.1',
      '198.18.0.20',
      '198.18.0.255',
      '198.18.1.0',
      '198.18.255.255',
      '198.19.0.0',
    ])
    expect(new Set(Array.from({ length: MAX_CLIENTS }, (_, i) => addressOf(i))).size).toBe(MAX_CLIENTS)
  })

  it('send equally often, in an order that the seed alone decides', () => {
    const first = counts(20, undefined, 2000)
    expect(first.seen).toEqual(new Array(20).fill(100))
    expect(counts(20, undefined, 2000).order).toEqual(first.order)
    expect(counts(20, undefined, 2000, 2).order).not.toEqual(first.order)
    expect(first.order.slice(0, 20)).not.toEqual(first.order.slice(20, 40))
  })

  it('send ten times as often when they attack', () => {
    const { seen } = counts(10, 0.2, 8 + 20)
    expect(seen).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 10, 10])
  })

  it('wait as long as they are told, but for the attackers', () => {
    const people = crowd(2, 0.5, generator(1))
    for (const client of [0, 1]) people.refused(client, 1000, 5000)
    expect([people.waits(0, 5999), people.waits(0, 6000)]).toEqual([true, false])
    expect(people.waits(1, 1001)).toBe(false)
  })

  it('wait for nothing when nobody was asked to behave', () => {
    const people = crowd(1, undefined, generator(1))
    people.refused(0, 0, 5000)
    expect(people.waits(0, 1)).toBe(false)
  })
})
