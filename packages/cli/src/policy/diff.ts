export interface DiffLine {
  readonly kind: ' ' | '+' | '-'
  readonly text: string
}

/** The shortest way from one text to the other, line by line. Policies are short: the plain table of lengths will do. */
export function diffLines(before: string, after: string): DiffLine[] {
  const [a, b] = [linesOf(before), linesOf(after)]
  // common[i][j]: how many lines a from i and b from j have in common.
  const common = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0))
  const get = (i: number, j: number) => common[i]?.[j] ?? 0
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      ;(common[i] as number[])[j] = a[i] === b[j] ? get(i + 1, j + 1) + 1 : Math.max(get(i + 1, j), get(i, j + 1))
    }
  }
  const diff: DiffLine[] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      diff.push({ kind: ' ', text: a[i] as string })
      i++
      j++
    } else if (i < a.length && (j === b.length || get(i + 1, j) >= get(i, j + 1))) {
      diff.push({ kind: '-', text: a[i++] as string })
    } else diff.push({ kind: '+', text: b[j++] as string })
  }
  return diff
}

const linesOf = (text: string) => (text === '' ? [] : text.replace(/\n$/, '').split('\n'))

/** The changed lines, each with what comes just before it and, where it is a list's, the field it belongs to. */
export function withContext(diff: readonly DiffLine[]): DiffLine[] {
  const kept = new Set<number>()
  diff.forEach(({ kind, text }, i) => {
    if (kind === ' ') return
    kept.add(i)
    if (!text.startsWith(' ')) return
    for (let above = i - 1; above >= 0; above--) {
      const line = diff[above] as DiffLine
      if (line.text.startsWith(' ')) continue
      kept.add(above)
      break
    }
  })
  return diff.filter((_, i) => kept.has(i))
}

export interface Paint {
  added(text: string): string
  removed(text: string): string
}

/** As it is printed: a mark, and the text set off from it. */
export const renderDiff = (diff: readonly DiffLine[], paint?: Paint): string[] =>
  diff.map(({ kind, text }) => {
    const line = `${kind}   ${text}`
    if (!paint || kind === ' ') return line
    return kind === '+' ? paint.added(line) : paint.removed(line)
  })

/** Two texts beside each other when they fit into `width`, else below each other; each under its title. */
export function beside(
  [leftTitle, left]: readonly [string, readonly string[]],
  [rightTitle, right]: readonly [string, readonly string[]],
  width: number,
): string[] {
  const [l, r] = [
    [leftTitle, ...left],
    [rightTitle, ...right],
  ]
  const column = Math.max(...l.map(line => line.length)) + 4
  if (column + Math.max(...r.map(line => line.length)) > width) return [...l, '', ...r]
  return Array.from({ length: Math.max(l.length, r.length) }, (_, i) =>
    `${(l[i] ?? '').padEnd(column)}${r[i] ?? ''}`.trimEnd(),
  )
}
