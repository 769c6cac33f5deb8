/** One of several processes whose clocks differ by minutes: asks as it is told, and says what it admitted. */
const { url, skewMs, plan, instance } = JSON.parse(process.argv[2] as string) as {
  url: string
  skewMs: number
  instance: string
  plan: { policies: unknown[]; clients: number; rounds: number }
}

// Before anything else is imported: nobody may keep the true clock.
const now = Date.now
Date.now = () => now() + skewMs
const RealDate = Date
globalThis.Date = class extends RealDate {
  constructor(...args: []) {
    super(...((args.length === 0 ? [RealDate.now()] : args) as []))
  }
} as DateConstructor
Object.defineProperty(performance, 'timeOrigin', { value: performance.timeOrigin + skewMs })

const { createBouncer } = await import('../../index.ts')
const bouncer = createBouncer({
  redis: { url, deadline: '10s' },
  policies: plan.policies as never,
  penalty: false,
  instance,
})
const ask = async (path: string, client: string) => {
  const peer = { headers: {}, socket: { remoteAddress: '198.51.100.1' } } as never
  return (await bouncer.check({ peer, method: 'GET', path, client })).outcome
}
while (bouncer.health().state !== 'ok') await new Promise(resolve => setTimeout(resolve, 5))
process.send?.({ ready: true, now: Date.now() })
await new Promise(resolve => process.once('message', resolve))

const paths = (plan.policies as { match: string }[]).map(({ match }) => match)
const admitted: Record<string, number> = {}
const outcomes: Record<string, number> = {}
for (let round = 0; round < plan.rounds; round++) {
  const asked = paths.flatMap(path => Array.from({ length: plan.clients }, (_, i) => [path, `c${i}`] as const))
  await Promise.all(
    asked.map(async ([path, client]) => {
      const outcome = await ask(path, client)
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
      if (outcome === 'allowed') admitted[`${path} ${client}`] = (admitted[`${path} ${client}`] ?? 0) + 1
    }),
  )
}
process.send?.({ admitted, outcomes })
await bouncer.close()
process.disconnect?.()
