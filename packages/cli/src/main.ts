import { fileURLToPath } from 'node:url'
import { start } from './start.ts'

await start(process, fileURLToPath(new URL('..', import.meta.url)))
