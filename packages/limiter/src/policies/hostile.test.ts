import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BouncerError } from '../errors.ts'
import { compilePattern } from './pattern.ts'

const part = fc.oneof(
  fc.constantFrom('/', '/', '-', '.', '~', 'a', 'ab', '1'),
  fc.constantFrom(':a', ':b', ':c', '*d', '*e', '*f', '{/g}', '{-:h}', '{.:i}'),
)
const pattern = fc.array(part, { minLength: 1, maxLength: 12 }).map(parts => `/${parts.join('')}`)

/** What makes a careless pattern try everything: a separator again and again, and no end that fits. */
const HOSTILE = ['/', '-', '.', '~', 'a', '1/', '1-', '1.', 'a/b-', '/-./'].map(
  unit => (bytes: number) => `/${unit.repeat(Math.ceil(bytes / unit.length))}!`,
)

/** The quickest of several runs: what else the machine does only ever adds. */
function quickest(work: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 3; i++) {
    const started = performance.now()
    work()
    best = Math.min(best, performance.now() - started)
  }
  return best
}

test('no pattern that a user can write makes matching explode: four times the path takes about four times as long', () => {
  let compiled = 0
  fc.assert(
    fc.property(pattern, source => {
      let patterns: ReturnType<typeof compilePattern>
      try {
        patterns = compilePattern(source, 'p')
      } catch (error) {
        // Refused when it is written, with words.
        expect(error).toBeInstanceOf(BouncerError)
        return
      }
      for (const { regexp } of patterns) {
        if (!regexp) continue
        compiled++
        for (const path of HOSTILE) {
          const [small, large] = [path(4000), path(16_000)]
          const long = quickest(() => regexp.test(large))
          // Below a millisecond there is nothing to fear, and nothing to measure by.
          if (long > 1)
            expect(long).toBeLessThan(
              16 *
                Math.max(
                  0.2,
                  quickest(() => regexp.test(small)),
                ),
            )
        }
      }
    }),
    { numRuns: 300 },
  )
  expect(compiled).toBeGreaterThan(100)
})
