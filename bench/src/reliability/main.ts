import { main } from '../run.ts'
import { trials } from './index.ts'

await main(
  {
    command: 'reliability',
    page: 'docs/reliability.md',
    folder: 'reliability/',
    title: 'Reliability',
    promises: true,
    intro: [
      'What happens to those who ask when something breaks: real processes, really broken, under requests that come when they are due whatever became of those before (the wait is counted from then).',
      'Half of the requests come from clients who send in an hour just what they may (100): refusing one of these is *wrongly refused*. The other half come from clients who send twice that: what they get beyond 100 is *wrongly admitted*; one of them comes when it has struck, and at no other time. Without Redis fail mode `open` admits everybody, as it says, and `local` each instance its share. *Without machine’s lag*: the wait without what the machine ran others instead of the API meanwhile (Linux counts that: `schedstat`) or the clients were late themselves; what the API’s own event loop is late by, computing, is its *own lag*, and counts. *Events lost*: refusals that no event tells of; *marked* when the log itself was lost and a gap mark says so.',
      "Side by side: **ours** with its defaults (deadline 50 ms) in two fail modes; **express-rate-limit** with rate-limit-redis and `passOnStoreError`, on ioredis's own settings; **rate-limiter-flexible** with an insurance limiter in memory and, as its documentation has it, `enableOfflineQueue: false`. *Answered without Redis* is known of ours alone, which says so of every decision.",
    ].join('\n\n'),
  },
  trials,
)
