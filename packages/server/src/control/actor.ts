import type { Actor } from '@api-bouncer/limiter'
import type { Request } from 'express'

/** Who may act may say who they are, for the audit; it gives no rights. `known` is their name if they do not. */
export function actorOf(req: Request, known: string): Actor {
  const source = req.socket.remoteAddress ?? 'unknown'
  try {
    const said = decodeURIComponent(req.get('x-bouncer-actor') ?? '')
      .replace(/[^\p{L}\p{N} .@_:+-]/gu, '')
      .slice(0, 64)
    return { by: said.trim() || known, source }
  } catch {
    return { by: known, source }
  }
}
