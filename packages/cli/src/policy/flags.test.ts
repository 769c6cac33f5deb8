import { policySchema } from '@api-bouncer/limiter/contracts'
import { describe, expect, it } from 'vitest'
import { changesOf, countersAfresh } from './changes.ts'
import { FlagError, type PolicyFlags, parseLimit, withFlags } from './flags.ts'

const auth = policySchema.parse({ id: 'auth', match: '/auth/*', limits: [{ limit: 30, window: '1m', burst: 40 }] })

describe('the flags of policy set', () => {
  it.each<[PolicyFlags, string[]]>([
    [{ limit: ['20/1m'] }, ['limits 30 per 1m (burst 40) → 20 per 1m']],
    [{ limit: ['20/1m'], burst: '40' }, ['limits 30 per 1m (burst 40) → 20 per 1m (burst 40)']],
    [{ burst: 'none' }, ['limits 30 per 1m (burst 40) → 30 per 1m']],
    [{ limit: ['20/60s,burst=25'] }, ['limits 30 per 1m (burst 40) → 20 per 1m (burst 25)']],
    [{ limit: ['5/1s', '100 per 1h,burst=200'] }, ['limits 30 per 1m (burst 40) → 5 per 1s, 100 per 1h (burst 200)']],
    [{ burst: '60' }, ['limits 30 per 1m (burst 40) → 30 per 1m (burst 60)']],
    [{ mode: 'shadow' }, ['mode enforce → shadow']],
    [{ match: ['POST /auth/*', '/login'] }, ['match /auth/* → POST /auth/*, /login']],
    [{ algorithm: 'gcra' }, ["algorithm the server's → gcra"]],
    [{ algorithm: 'default', cost: '2' }, ['cost 1 → 2']],
    [{ failMode: 'closed' }, ["failMode the server's → closed"]],
    [{ penalty: 'none' }, ["penalty the fleet's → none"]],
    [{ penalty: '3/10m:15m,1h' }, ["penalty the fleet's → 3 in 10m: 15m, 1h"]],
    [{ penalty: 'default' }, []],
    [{ description: 'the way in' }, ['description none → the way in']],
    [{}, []],
  ])('%j', (flags, changes) => {
    expect(changesOf(auth, withFlags(auth, flags))).toEqual(changes)
  })

  it.each<[PolicyFlags, RegExp]>([
    [{ limit: ['20'] }, /--limit: "20" is no limit \(write 20\/1m/],
    [{ limit: ['20/'] }, /--limit: "20\/" is no limit/],
    [{ limit: ['20/1 fortnight'] }, /--limit: "20\/1 fortnight" is no limit/],
    [{ limit: ['0/1m'] }, /--limit: at least 1$/],
    [{ limit: ['20/99d'] }, /--limit: "99d" is out of range/],
    [{ burst: '0' }, /--burst: at least 1$/],
    [{ limit: ['5/1s', '7/1s'] }, /a second limit over 1s/],
    [{ limit: ['5/1s', '7/1m'], burst: '9' }, /--burst: there are several limits/],
    [{ mode: 'shaddow' }, /--mode: "shaddow" is none of enforce, shadow, off; did you mean shadow\?/],
    [{ algorithm: 'gcar' }, /--algorithm: .*did you mean gcra\?/],
    [{ cost: 'two' }, /--cost: "two" is not a whole number/],
    [{ cost: '31' }, /--cost: a cost of 31 never fits/],
    [{ penalty: 'never' }, /--penalty: "never" is no penalty/],
    [{ penalty: '3/x:1m' }, /--penalty: "x" is not a duration/],
    [{ match: ['auth'] }, /--match: expected "PATH" or "METHOD PATH"/],
  ])('%j is refused', (flags, message) => {
    expect(() => withFlags(auth, flags)).toThrow(FlagError)
    expect(() => withFlags(auth, flags)).toThrow(message)
  })

  it('reads a window without a number as one of it', () => {
    expect(parseLimit('3/h')).toEqual({ limit: 3, window: '1h' })
  })
})

describe('what becomes of the counters', () => {
  it.each<[PolicyFlags, string | undefined]>([
    [{ limit: ['20/1m'] }, undefined],
    [{ limit: ['20/1h', '5/1m'] }, 'what is used so far does not count for the new window 1h'],
    [{ algorithm: 'gcra' }, "its counters start afresh: the algorithm changes (the server's → gcra)"],
  ])('%j', (flags, says) => {
    expect(countersAfresh(auth, withFlags(auth, flags))).toBe(says)
  })
})
