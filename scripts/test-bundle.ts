/** For vitest, which may be run without npm's own steps. */
export async function setup(): Promise<void> {
  await import('./build-cli.ts')
}
