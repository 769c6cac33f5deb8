/** What a start, a test and a build need that is made from sources: each made again only when it is older than they are. */
await import('./build-cli.ts')
await import('./build-dashboard.ts')

export {}
