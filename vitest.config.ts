import { defineConfig } from 'vitest/config'

export default defineConfig({
  // Run from source: no dist is needed, and a stale one is never tested.
  resolve: { conditions: ['@api-bouncer/source'] },
  ssr: { resolve: { conditions: ['@api-bouncer/source'], externalConditions: ['@api-bouncer/source'] } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/src/**/*.test.tsx', 'bench/src/**/*.test.ts'],
    // The command line is tested as it is started: from its bundle, made anew when it is older than its sources.
    globalSetup: 'scripts/test-bundle.ts',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    // CI's machine is shared: a test that kills and freezes real processes may meet a slow moment. Once; here never.
    retry: process.env.CI ? 1 : 0,
  },
})
