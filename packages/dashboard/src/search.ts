import { useSearchParams } from 'wouter'

/** One part of the page's state in its address, so that it can be linked to; `fallback` stands for none. */
export function useSearchState(name: string, fallback = ''): [string, (value: string) => void] {
  const [search, setSearch] = useSearchParams()
  const set = (value: string) =>
    setSearch(
      previous => {
        const next = new URLSearchParams(previous)
        if (value === fallback) next.delete(name)
        else next.set(name, value)
        return next
      },
      { replace: true },
    )
  return [search.get(name) ?? fallback, set]
}
