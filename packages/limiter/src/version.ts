import { readFileSync } from 'node:fs'

/** The version of this package, for the fleet view and the metrics. */
export const version: string = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version
