/**
 * What others wrote (client ids, routes, user agents, reasons) on its way to a terminal: control bytes, and the marks that
 * turn the direction of writing or hide, become visible and harmless.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

const escapeOf = (char: string): string => {
  const code = char.charCodeAt(0)
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** On one line: every newline and tab becomes visible too. */
export const safe = (text: string): string => text.replace(UNSAFE, escapeOf)

/** JSON that says the same, and does nothing to a terminal. */
export const safeJson = (value: unknown, indent?: number): string =>
  // JSON.stringify escapes what is below 0x20 itself; of what it leaves, newlines are its own indentation.
  JSON.stringify(value, null, indent).replace(UNSAFE, char =>
    char === '\n' ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** Spreadsheets run cells that begin so as formulas. */
const FORMULA = /^[=+\-@\t\r]/

/** A cell as RFC 4180 says, with control bytes visible and formulas disarmed by a leading apostrophe. Numbers stay numbers. */
export function csvCell(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const raw = typeof value === 'string' ? value : JSON.stringify(value)
  const text = FORMULA.test(raw) ? `'${safe(raw)}` : safe(raw)
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u
const widthOfChar = (char: string) => (/^[\p{M}\u200d]/u.test(char) ? 0 : WIDE.test(char) ? 2 : 1)

/** Columns a text takes on a terminal; styles take none. */
export function width(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: our own colours
  const bare = text.includes('\x1b') ? text.replace(/\x1b\[[\d;]*m/g, '') : text
  if (/^[\x20-\x7e]*$/.test(bare)) return bare.length
  let columns = 0
  for (const char of bare) columns += widthOfChar(char)
  return columns
}

/** At most so many columns; what is cut off shows as `…`. */
export function truncate(text: string, columns: number): string {
  if (width(text) <= columns) return text
  let kept = ''
  let taken = 0
  for (const char of text) {
    taken += widthOfChar(char)
    if (taken > columns - 1) break
    kept += char
  }
  return columns < 1 ? '' : `${kept}…`
}

/** Parts on one line where they fit, else on as many as they need, the later ones indented. */
export function flow(parts: readonly string[], columns = Number.POSITIVE_INFINITY, gap = '   '): string {
  const lines: string[] = []
  for (const part of parts) {
    const last = lines.at(-1)
    if (last !== undefined && width(last) + gap.length + width(part) <= columns)
      lines.push(`${lines.pop()}${gap}${part}`)
    else lines.push(lines.length === 0 ? part : `  ${part}`)
  }
  return lines.join('\n')
}

/**
 * Breaks lines between words where they are wider than a terminal; what follows stands under the last cell of the left half.
 * A command stays on its line, to be copied.
 */
export const fold = (text: string, columns = Number.POSITIVE_INFINITY): string =>
  text
    .split('\n')
    .map(line => (width(line) <= columns || /^ *bouncer /.test(line) ? line : foldLine(line, columns)))
    .join('\n')

function foldLine(line: string, columns: number): string {
  const gaps = [...line.matchAll(/ {2,}(?=\S)/g)].map(({ 0: gap, index }) => width(line.slice(0, index) + gap))
  const indent = ' '.repeat(Math.max(2, ...gaps.filter(at => at <= columns / 2)))
  const lines: string[] = []
  let last: string | undefined
  for (const word of line.split(' ')) {
    const longer = last === undefined ? word : `${last} ${word}`
    if (last === undefined || last.trim() === '' || width(longer) <= columns) last = longer
    else {
      lines.push(last.trimEnd())
      last = indent + word
    }
  }
  return [...lines, last].join('\n')
}
