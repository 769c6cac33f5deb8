/** An argument as a shell would take it. */
export const quote = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

/** The `bouncer` line that does the same: its words, and options that are set. */
export function bouncer(
  words: readonly string[],
  options: Readonly<Record<string, string | boolean | undefined>> = {},
): string {
  const set = Object.entries(options).flatMap(([name, value]) =>
    value === undefined || value === false ? [] : value === true ? [`--${name}`] : [`--${name}`, quote(value)],
  )
  const said = words.map(quote)
  // What begins with a dash is no option.
  const dashed = words.findIndex(word => word.startsWith('-'))
  const line = dashed < 0 ? [...said, ...set] : [...said.slice(0, dashed), ...set, '--', ...said.slice(dashed)]
  return ['bouncer', ...line].join(' ')
}
