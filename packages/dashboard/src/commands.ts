/** Where the command line looks by itself. */
const DEFAULT_URL = 'http://127.0.0.1:8900'

/** This control plane, as one reaches it from here: whatever proxy is in front is on the way of the command line too. */
const HERE = location.origin === DEFAULT_URL ? undefined : location.origin

/** An argument as a shell would take it. */
const quote = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)

type Options = Readonly<Record<string, string | boolean | undefined>>

/** The `bouncer` line that does the same, here: its words, and options that are set. */
export function bouncer(words: readonly string[], options: Options = {}): string {
  const all: Options = { ...options, url: HERE }
  const set = Object.entries(all).flatMap(([name, value]) =>
    value === undefined || value === false ? [] : value === true ? [`--${name}`] : [`--${name}`, quote(value)],
  )
  const said = words.map(quote)
  // What begins with a dash is no option.
  const dashed = words.findIndex(word => word.startsWith('-'))
  const line = dashed < 0 ? [...said, ...set] : [...said.slice(0, dashed), ...set, '--', ...said.slice(dashed)]
  return ['bouncer', ...line].join(' ')
}

/** Makes traffic, and two who misbehave, on the API of this server; what came of it stays to be looked at. */
export const rehearsal = (): string =>
  bouncer(['load', '/api/data'], { rps: '200', clients: '20', attackers: '0.1', duration: '15s', keep: true })
