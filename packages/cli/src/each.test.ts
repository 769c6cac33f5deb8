import { PassThrough } from 'node:stream'
import { BouncerError } from '@api-bouncer/limiter/client'
import { expect, it } from 'vitest'
import type { Context } from './context.ts'
import { each } from './each.ts'

function stage() {
  const stderr = new PassThrough()
  const cleanups = new Set<() => unknown>()
  const context = {
    stderr,
    onInterrupt: (cleanup: () => unknown) => {
      cleanups.add(cleanup)
      return () => cleanups.delete(cleanup)
    },
  } as unknown as Context
  return { context, interrupt: () => [...cleanups].map(one => one()), said: () => String(stderr.read() ?? '') }
}

const things = Array.from({ length: 2777 }, (_, i) => `c${i}`)

it('tells of each in order, as soon as it is done', async () => {
  const told: string[] = []
  const waiting = new Map<string, () => void>()
  const act = (thing: string) => new Promise<string>(resolve => waiting.set(thing, () => resolve(thing)))
  const { context, said } = stage()
  const all = each(context, ['a', 'b', 'c'], act, one => told.push(one))
  for (const [thing, known] of [
    ['b', []],
    ['a', ['a', 'b']],
    ['c', ['a', 'b', 'c']],
  ] as const) {
    waiting.get(thing)?.()
    await new Promise(setImmediate)
    expect(told).toEqual(known)
  }
  const { done, end } = await all
  end()
  expect([done, said()]).toEqual([['a', 'b', 'c'], ''])
})

it('stops when nobody answers any more, and says how far it came', async () => {
  const asked: string[] = []
  const { context, said } = stage()
  const { done, lost, end } = await each(context, things, async thing => {
    asked.push(thing)
    if (asked.length > 12) throw new BouncerError('ERR_UNAVAILABLE', 'gone')
    return thing
  })
  expect([done.length, lost]).toEqual([12, true])
  expect(asked.length).toBeLessThan(12 + 9)
  expect(end).toThrow(expect.objectContaining({ exitCode: 5 }))
  expect(said()).toMatch(/^bouncer: gone\nbouncer: 12 of 2777 done, the rest not, beginning with c12 \(.*\)\n$/)
})

it('stops at Ctrl-C, lets what is under way end, and says how far it came', async () => {
  const { context, interrupt, said } = stage()
  let waited: Promise<unknown>[] = []
  const told: string[] = []
  const act = async (thing: string) => {
    await new Promise(setImmediate)
    if (thing === 'c100') waited = interrupt() as Promise<unknown>[]
    return thing
  }
  const { end } = await each(context, things, act, one => told.push(one))
  expect(told.length).toBeLessThan(120)
  expect(end).toThrow(expect.objectContaining({ exitCode: 130 }))
  await Promise.all(waited)
  expect(said()).toBe(`bouncer: ${told.length} of 2777 done, the rest not, beginning with c${told.length}\n`)
})
