import { useRef, useState } from 'react'

const EVERY_MS = 3000

/**
 * Keeps a live list calm: values change in place, the order at most every 3 s and never under the pointer. Spread `hold` on
 * what holds the list.
 */
export function useCalm<T>(items: readonly T[], idOf: (item: T) => string) {
  const order = useRef<readonly string[]>([])
  const at = useRef(Number.NEGATIVE_INFINITY)
  const [held, setHeld] = useState(false)
  const now = performance.now()
  const byId = new Map(items.map(item => [idOf(item), item]))
  if (!held && now - at.current >= EVERY_MS) {
    order.current = [...byId.keys()]
    at.current = now
  } else {
    const known = new Set(order.current)
    order.current = [...order.current, ...[...byId.keys()].filter(id => !known.has(id))]
  }
  const calm = order.current.flatMap(id => byId.get(id) ?? [])
  const hold = {
    onPointerEnter: () => setHeld(true),
    onPointerLeave: () => setHeld(false),
    onFocus: () => setHeld(true),
    onBlur: () => setHeld(false),
  }
  return { calm, hold }
}
