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
    // CI's machine is shared: a test that kills and freezes real processes may meet a slow moment. Once; here never.
    retry: process.env.CI ? 1 : 0,
    projects: [
      // Half of their time is waiting: for a window, a key's end, a screen.
      { extends: true, test: { name: 'packages', include: ['packages/*/src/**/*.test.{ts,tsx}'], maxWorkers: 3 } },
      // What is judged by waits: after the rest, and only what leaves a core idle beside each other.
      {
        extends: true,
        test: {
          name: 'trials',
          include: ['bench/src/**/*.test.ts'],
          exclude: ['bench/src/alone/**'],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      // What keeps both cores busy, and what is judged by ratios against peers: last, one at a time.
      {
        extends: true,
        test: { name: 'alone', include: ['bench/src/alone/*.test.ts'], maxWorkers: 1, sequence: { groupOrder: 2 } },
      },
    ],
  },
})
