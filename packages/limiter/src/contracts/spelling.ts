/** The longest id that is spelt out; a longer one is a digest. */
export const LONGEST_ID = 128

const SAFE = 'A-Za-z0-9._:@/+=-'
const UNSAFE = new RegExp(`[^${SAFE}]`, 'gu')
const utf8 = new TextEncoder()

/** An id with what could shape a key or a terminal percent-encoded; every id has a spelling of its own. */
export const spell = (id: string): string =>
  id.replace(UNSAFE, char => [...utf8.encode(char)].map(byte => `%${byte.toString(16).padStart(2, '0')}`).join(''))

/**
 * Whether it is the spelling of an id that needs one. As an operator types it, it is taken as it is: escaped once more it would
 * name somebody else. An application's own id `a%20b` is therefore typed as it is printed, `a%2520b`.
 */
export function isSpelling(typed: string): boolean {
  if (!typed.includes('%')) return false
  try {
    const id = decodeURIComponent(typed)
    return id.length <= LONGEST_ID && spell(id) === typed
  } catch {
    return false
  }
}

/** An id as an operator types it, in the spelling it is counted under. */
export const spellTyped = (typed: string): string => (isSpelling(typed) ? typed : spell(typed))
