import { ROOMS } from './rooms.ts'

export { run } from './run.ts'

/** Loads what commands are made of: for the build, which keeps what V8 compiles of it. */
export async function loadAll(): Promise<void> {
  const rooms = Object.values(ROOMS).map(load => load())
  await Promise.all([...rooms, import('./http-send.ts'), import('@api-bouncer/limiter/redis-control')])
}
