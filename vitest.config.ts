import { defineConfig } from 'vitest/config'

export default defineConfig({
  // Run from source: no dist is needed, and a stale one is never tested.
  resolve: { conditions: ['@api-bouncer/source'] },
  ssr: { resolve: { conditions: ['@api-bouncer/source'], externalConditions: ['@api-bouncer/source'] } },
  test: {
    // The command line is tested as it is started: from its bundle, made anew when it is older than its sources.
    globalSetup: 'scripts/test-bundle.ts',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    // CI's machine is shared: a test that kills and freezes real processes may meet a slow moment. Once; here never.
    retry: process.env.CI ? 1 : 0,
    projects: [
      { extends: true, test: { name: 'packages', include: ['packages/*/src/**/*.test.{ts,tsx}'] } },
      // Ratios against peers want a machine that does nothing else; what holds under faults is judged by waits, after the rest.
      { extends: true, test: { name: 'guard', include: ['bench/src/guard.test.ts'], sequence: { groupOrder: 1 } } },
      {
        extends: true,
        test: { name: 'trials', include: ['bench/src/reliability/**/*.test.ts'], sequence: { groupOrder: 2 } },
      },
    ],
  },
})
