import { readFileSync } from 'node:fs'

/** Lua stays Lua: read from beside its TypeScript, in `src` from both `src` and `dist`. A bundle has the texts in it instead. */
export const readLua = (path: string): string => readFileSync(new URL(`../../../src/${path}`, import.meta.url), 'utf8')
