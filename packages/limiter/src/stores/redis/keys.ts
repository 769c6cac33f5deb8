/** Every key and channel name. A client stands in braces, so that its keys share a Cluster slot; so does all control state. */
export interface Keys {
  readonly prefix: string
  block(client: string): string
  violations(client: string, scope: string): string
  /** Offences and grace. */
  client(client: string): string
  /** The last refusals, newest first. */
  refusals(client: string): string
  /** What it was answered, by the minute. */
  clientHistory(client: string): string
  /** `counter` is Limit.counter: `sliding_window:auth:60s`. */
  counter(client: string, counter: string): string
  readonly blocks: string
  readonly policies: string
  readonly settings: string
  readonly lists: string
  readonly epoch: string
  history(policy: string): string
  /** What the fleet did in the step that starts at `at` (epoch ms). */
  stats(stepMs: number, at: number): string
  readonly log: string
  readonly audit: string
  readonly instances: string
  readonly frames: string
  /** Those of the instances that decide no request. */
  readonly controls: string
  /** Pub/sub ignores the database number, so its names carry it. */
  readonly channels: { readonly events: string; readonly stats: string; readonly control: string }
}

export function createKeys(prefix: string, db: number): Keys {
  const control = (name: string) => `${prefix}:{control}:${name}`
  return {
    prefix,
    block: client => `${prefix}:block:{${client}}`,
    violations: (client, scope) => `${prefix}:violations:{${client}}${scope && `:${scope}`}`,
    client: client => `${prefix}:client:{${client}}`,
    refusals: client => `${prefix}:refusals:{${client}}`,
    clientHistory: client => `${prefix}:history:{${client}}`,
    counter: (client, counter) => {
      const algorithm = counter.indexOf(':')
      return `${prefix}:${counter.slice(0, algorithm)}:{${client}}${counter.slice(algorithm)}`
    },
    blocks: control('blocks'),
    policies: control('policies'),
    settings: control('settings'),
    lists: control('lists'),
    epoch: control('epoch'),
    history: policy => control(`history:${policy}`),
    stats: (stepMs, at) => control(`stats:${stepMs / 1000}s:${at / 1000}`),
    log: control('log'),
    audit: control('audit'),
    instances: control('instances'),
    frames: control('frames'),
    controls: control('controls'),
    channels: { events: `${prefix}:${db}:events`, stats: `${prefix}:${db}:stats`, control: `${prefix}:${db}:control` },
  }
}
