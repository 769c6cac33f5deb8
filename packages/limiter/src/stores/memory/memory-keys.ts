import type { KeyInfo } from '../../contracts/index.ts'
import { DEFAULT_PREFIX, type KeyBrowser } from '../../control/keys.ts'
import type { MemoryStore } from './memory-store.ts'

/** A glob with `*` and `?`, as Redis' MATCH; anything else is literal. No backtracking: `**` is one star. */
export function glob(pattern: string): (text: string) => boolean {
  const parts = pattern.replace(/\*+/g, '*').split('*')
  const at = (text: string, part: string, from: number) =>
    [...part].every((char, i) => (char === '?' ? from + i < text.length : text[from + i] === char))
  return text => {
    let from = 0
    for (const [i, part] of parts.entries()) {
      const last = i === parts.length - 1
      if (i === 0) {
        if (!at(text, part, 0)) return false
        if (last) return part.length === text.length
        from = part.length
      } else if (last) {
        return text.length - part.length >= from && at(text, part, text.length - part.length)
      } else {
        while (from + part.length <= text.length && !at(text, part, from)) from++
        if (from + part.length > text.length) return false
        from += part.length
      }
    }
    return true
  }
}

/** The embedded store has no keys of its own: a client's counters and block are shown under the names Redis would use. */
export function memoryKeys(store: MemoryStore): KeyBrowser {
  const info = ({ key, words, value }: { key: string; words: string; value: unknown }): KeyInfo => ({
    key,
    type: 'memory',
    words,
    value,
  })
  return {
    page(match, cursor, limit) {
      // As on Redis, where every name begins with a prefix.
      const asked = glob(match)
      const matches = (key: string) => asked(key) || asked(`${DEFAULT_PREFIX}:${key}`)
      const start = Number(cursor)
      const keys: KeyInfo[] = []
      let seen = 0
      for (const entry of store.entries()) {
        if (!matches(entry.key) || seen++ < start) continue
        if (keys.length === limit) return { keys, cursor: String(start + limit) }
        keys.push(info(entry))
      }
      return { keys, cursor: '0' }
    },
    get(key) {
      for (const entry of store.entries()) if (entry.key === key) return info(entry)
      return undefined
    },
    delete: key => store.deleteEntry(key),
  }
}
