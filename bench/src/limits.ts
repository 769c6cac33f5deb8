/**
 * What stands between a goal and its measure where it is not met: section, goals, limit. What was measured for it is in
 * docs/profiling.md.
 */
const LIMITS: readonly (readonly [section: string, goals: RegExp, limit: string])[] = [
  [
    'embedded',
    /middleware/,
    'an exact log of every request rather than a counter; of 10,000 clients it is in no cache any more (0.6 kB each after 100 requests, the peer 0.4)',
  ],
  [
    'embedded',
    /fixed_window/,
    'an answer that tells all limits and the block (160 B a check) against a number; the clock is a third of both',
  ],
  [
    'embedded',
    /store alone/,
    'an exact log and an answer that tells all limits (160 B a check) against a bare counter; the clock is a third of both. What the log is of it, the rows with `fixed_window` say, which count as the peers do',
  ],
  ['http-embedded', /in front/, 'five headers are 4 to 6 µs of it, deciding 3'],
  [
    'http-redis',
    /CPU|later/,
    'as with the embedded store, and the write that wakes Redis (4 µs a request at 15 a batch)',
  ],
  [
    'redis',
    /checks a second/,
    'Redis itself, which is busy nine tenths of the time: RPUSH 0.6 µs a check, LINDEX 0.4, the block 0.1, the rest is reading the question and writing the answer. Where system calls cost more, the peers, who make one a check, fall further behind',
  ],
  ['redis', /Redis CPU/, 'an exact log, a block and a fence are four commands where the peers run two'],
  ['redis', /Node CPU/, 'promise, text and answer of each check; the system calls are already shared'],
  [
    'redis',
    /p50/,
    'with one check at a time nothing overlaps: four commands in the script against two are 3 to 6 µs more in Redis',
  ],
  ['redis', /p99/, 'a batch waits for its slowest, and both share two cores with the load'],
  ['memory-redis', /later/, '10.0 B an entry, and what the key itself costs shared among so few'],
  [
    'cli',
    /unblock/,
    'loading what the command needs and its conversation weigh more where an empty node starts faster',
  ],
]

/** Undefined where nobody has looked yet. */
export const limitOf = (section: string, goal: string): string | undefined =>
  LIMITS.find(([name, goals]) => name === section && goals.test(goal))?.[2]
