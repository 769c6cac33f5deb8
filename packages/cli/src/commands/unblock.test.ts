import { expect, it } from 'vitest'
import { doneText } from './unblock.ts'

const NOW = 1_700_000_000_000
const block = { client: '1.2.3.4', reason: 'r', since: NOW - 1000, until: NOW + 778_000, offence: 1, by: 'auto' }
const seenBy = { seen: 3, of: 3 }

it('says what was lifted, and the proof that everybody knows', () => {
  expect(
    doneText(
      [
        { client: '1.2.3.4', wasBlocked: true, block, violations: 5, counters: ['auth', 'default'], seenBy },
        { client: '10.20.30.40', wasBlocked: true, block, violations: 1, counters: [], seenBy: { seen: 2, of: 3 } },
        { client: '9.9.9.9', wasBlocked: false, violations: 0, counters: [], seenBy },
        { client: '8.8.8.8', wasBlocked: false, violations: 3, counters: ['auth'], seenBy },
      ],
      NOW,
    ),
  ).toBe(`unblocked 1.2.3.4       lifted: block (12m 58s left) · 5 violations · counters of auth, default   seen by 3 of 3 instances
unblocked 10.20.30.40   lifted: block (12m 58s left) · 1 violation   seen by 2 of 3 instances (the rest within seconds, or they are gone)
9.9.9.9 was not blocked; cleared: nothing
8.8.8.8 was not blocked; cleared: 3 violations · counters of auth
`)
})

it('says what it would lift', () => {
  const dryRun = true
  expect(
    doneText(
      [
        { client: '1.2.3.4', wasBlocked: true, block, violations: 0, counters: ['auth'], dryRun },
        { client: '9.9.9.9', wasBlocked: false, violations: 0, counters: [], dryRun },
      ],
      NOW,
    ),
  ).toBe(`would unblock 1.2.3.4   lifting: block (12m 58s left) · counters of auth
9.9.9.9 is not blocked; it would clear: nothing
`)
})
