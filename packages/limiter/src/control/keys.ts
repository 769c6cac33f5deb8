import type { KeyInfo, KeyPage } from '../contracts/index.ts'
import type { Answer } from '../stores/store.ts'

/** What the names of keys begin with, unless told otherwise. */
export const DEFAULT_PREFIX = 'api_bouncer'

/** What is stored, key by key, for people. */
export interface KeyBrowser {
  /** `match` is a glob over key names, with their prefix or without; `cursor` `0` begins, and a page with cursor `0` was the last. */
  page(match: string, cursor: string, limit: number): Answer<KeyPage>
  get(key: string): Answer<KeyInfo | undefined>
  /** Whether there was such a key. */
  delete(key: string): Answer<boolean>
}
