// Of the peers only types are imported here, so that who measures one need not load the others.
import type { RateLimitPluginOptions } from '@fastify/rate-limit'
import type { RateLimiterMemory } from 'rate-limiter-flexible'

/** A Fastify application, with its limiter in front if there are options. */
export async function fastifyApp(options?: RateLimitPluginOptions) {
  const app = (await import('fastify')).default()
  if (options) await app.register((await import('@fastify/rate-limit')).default, options)
  return app
}

/** @fastify/rate-limit's decision, without the hook that Fastify runs it in. */
export async function fastifyLimiter(options: RateLimitPluginOptions) {
  const app = await fastifyApp(options)
  await app.ready()
  return app.createRateLimit()
}

/** As much of a Fastify request as it looks at. */
export const fastifyRequestOf = (ip: string) => ({ ip, routeOptions: {} }) as never

interface Response {
  set(headers: object): unknown
  status(code: number): { send(body: string): unknown }
}

/** The middleware of rate-limiter-flexible's own documentation, with the headers that its wiki recommends. */
export const flexible = (
  limiter: Pick<RateLimiterMemory, 'consume'>,
  limit: number,
  { ip }: { ip?: string | undefined },
  res: Response,
  next: (error?: unknown) => void,
): Promise<void> => {
  const tell = ({ msBeforeNext, remainingPoints }: { msBeforeNext: number; remainingPoints: number }) =>
    res.set({
      'Retry-After': String(msBeforeNext / 1000),
      'X-RateLimit-Limit': String(limit),
      'X-RateLimit-Remaining': String(remainingPoints),
      'X-RateLimit-Reset': String(Math.ceil((Date.now() + msBeforeNext) / 1000)),
    })
  return limiter.consume(ip as string).then(
    answer => {
      tell(answer)
      next()
    },
    refusal => {
      if (refusal instanceof Error) return next(refusal)
      tell(refusal)
      res.status(429).send('Too Many Requests')
    },
  )
}
