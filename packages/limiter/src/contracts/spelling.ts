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

const SLIPS: readonly (readonly [RegExp, string])[] = [
  [/^[\d.:a-f/]+[.:][\d.:a-f/]*\s*[,;]/i, 'give several one by one, with spaces between'],
  [/^\d{1,3}(\.\d{1,3}){1,3}\s*-\s*[\d.]+$/, 'a span is written as ranges: 1.2.3.4/30 holds .4 to .7'],
  [/^(\d{1,3}\.)+\*(\.\*)*$/, 'a range is written as 1.2.3.0/24'],
  // With `::`, or beginning as the addresses of the internet do.
  [
    /^[\da-f]{1,4}(:[\da-f]{1,4})*::|^[23][\da-f]{3}:[\da-f]{1,4}:/i,
    'an address looks like 2001:db8::1, a range like 2001:db8::/32',
  ],
  [/^[\d.:a-f]*[.:][\d.:a-f]*(\/.*)?$/i, 'try: bouncer blocks'],
]

/** What mends something that is no address and no range, but was surely meant for one; undefined: it may be an id. */
export const slipOf = (typed: string): string | undefined => SLIPS.find(([form]) => form.test(typed))?.[1]
