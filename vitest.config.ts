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
      // What is judged by waits and by ratios against peers: after the rest, one file at a time, on a machine that does nothing else.
      {
        extends: true,
        test: {
          name: 'trials',
          include: ['bench/src/**/*.test.ts'],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
