import { navigate, useSearch } from 'wouter/use-browser-location'

/**
 * Changes parts of the page's state in its address, of what is there now; an empty one is taken away. Not by the router's own
 * hook: that one goes by what was there when the page was drawn, and decodes what it reads once too often.
 */
export function setSearch(parts: Readonly<Record<string, string>>): void {
  const next = new URLSearchParams(location.search)
  for (const [name, value] of Object.entries(parts)) {
    if (value === '') next.delete(name)
    else next.set(name, value)
  }
  const search = next.toString()
  navigate(`${location.pathname}${search && `?${search}`}${location.hash}`, { replace: true })
}

/** One part of the page's state in its address, so that it can be linked to; `fallback` stands for none. */
export function useSearchState(name: string, fallback = ''): [string, (value: string) => void] {
  const value = new URLSearchParams(useSearch()).get(name) ?? fallback
  return [value, next => setSearch({ [name]: next === fallback ? '' : next })]
}
