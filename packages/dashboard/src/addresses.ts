/** Whether it looks like a range of addresses: more than one client. An IPv6 /64 is one. */
export function isRange(text: string): boolean {
  const match = /^([0-9a-f:.]+)\/(\d{1,3})$/i.exec(text)
  if (!match) return false
  const bits = Number(match[2])
  return (match[1] as string).includes(':') ? bits < 64 : bits < 32
}
