/** When somebody last touched this page. It asks on by itself, which must not look like somebody who is there. */
let touchedAt = Date.now()

const touch = () => {
  touchedAt = Date.now()
}
for (const name of ['pointerdown', 'pointermove', 'wheel', 'keydown']) {
  addEventListener(name, touch, { capture: true, passive: true })
}

/** What every request says of it, for the server to know whether the session is in use. */
export const touched = (): Record<string, string> => ({ 'X-Untouched-Ms': String(Math.max(0, Date.now() - touchedAt)) })
