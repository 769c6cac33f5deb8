import { Checkbox, Table, UnstyledButton } from '@mantine/core'
import { useVirtualizer } from '@tanstack/react-virtual'
import { memo, type ReactNode, useCallback, useMemo, useRef, useState } from 'react'
import { useSearchState } from '../search.ts'

export interface Column<T> {
  readonly id: string
  readonly title: string
  readonly cell: (row: T) => ReactNode
  /** What it is sorted by; absent: it cannot be. */
  readonly sort?: (row: T) => string | number
  readonly align?: 'right'
  /** CSS; a column without one takes what is left. */
  readonly width?: string
}

interface Props<T> {
  readonly label: string
  readonly columns: readonly Column<T>[]
  readonly rows: readonly T[]
  readonly idOf: (row: T) => string
  /** How a row is called where it is selected. */
  readonly selection?: {
    readonly selected: ReadonlySet<string>
    readonly onChange: (selected: ReadonlySet<string>) => void
  }
  /** Narrower than this it scrolls sideways, by itself. */
  readonly minWidth?: number
  readonly height?: string
}

/** As `.rows` in app.css has it. */
const ROW = 36

const byName = new Intl.Collator('en', { numeric: true })

function compare(a: string | number, b: string | number): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : byName.compare(String(a), String(b))
}

interface RowProps<T> {
  readonly row: T
  readonly id: string
  readonly index: number
  readonly columns: readonly Column<T>[]
  readonly selected: boolean
  /** Absent: rows are not selected here. */
  readonly toggle?: (id: string) => void
}

/**
 * Drawn once: while one scrolls only the rows that come into sight are. Plain elements, as what stands in the cells should
 * be: a component of the theme's for each cell is what made a frame of a long table late.
 */
const Row = memo(function Row<T>({ row, id, index, columns, selected, toggle }: RowProps<T>) {
  return (
    <tr aria-rowindex={index + 2}>
      {toggle && (
        <td>
          <input
            type="checkbox"
            className="select-row"
            checked={selected}
            onChange={() => toggle(id)}
            aria-label={`select ${id}`}
          />
        </td>
      )}
      {columns.map(({ id: column, cell, align }) => (
        <td key={column} className={align ? 'foreign right' : 'foreign'}>
          {cell(row)}
        </td>
      ))}
    </tr>
  )
}) as <T>(props: RowProps<T>) => ReactNode

interface BodyProps<T> extends Pick<Props<T>, 'columns' | 'rows' | 'idOf'> {
  /** What scrolls; null until it is there. */
  readonly box: HTMLElement | null
  readonly selected: ReadonlySet<string> | undefined
  readonly toggle: (id: string) => void
}

/** The rows in sight, apart from the head, which scrolling need not draw again. */
function Body<T>({ columns, rows, idOf, box, selected, toggle }: BodyProps<T>) {
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box,
    estimateSize: () => ROW,
    overscan: 8,
  })
  const items = virtual.getVirtualItems()
  const above = items[0]?.start ?? 0
  const below = virtual.getTotalSize() - (items.at(-1)?.end ?? 0)
  const span = columns.length + (selected ? 1 : 0)
  return (
    <tbody className="rows">
      {above > 0 && (
        <tr aria-hidden>
          <td colSpan={span} style={{ height: above }} />
        </tr>
      )}
      {items.map(({ index }) => {
        const row = rows[index] as T
        const id = idOf(row)
        return (
          <Row
            key={id}
            row={row}
            id={id}
            index={index}
            columns={columns}
            selected={selected?.has(id) ?? false}
            {...(selected && { toggle })}
          />
        )
      })}
      {below > 0 && (
        <tr aria-hidden>
          <td colSpan={span} style={{ height: below }} />
        </tr>
      )}
    </tbody>
  )
}

/** A table of any length: only the rows in sight are there. `?sort=-until` sorts, the other way round with the minus. */
export function DataTable<T>({
  label,
  columns,
  rows,
  idOf,
  selection,
  minWidth = 560,
  height = 'calc(100vh - 190px)',
}: Props<T>) {
  const [asked, setAsked] = useSearchState('sort')
  const descending = asked.startsWith('-')
  const by = columns.find(({ id, sort }) => sort && id === asked.replace(/^-/, ''))
  const sorted = useMemo(() => {
    const key = by?.sort
    if (!key) return rows
    return [...rows].sort((a, b) => compare(key(a), key(b)) * (descending ? -1 : 1))
  }, [rows, by, descending])
  // State, not a ref: rows that are known before the box is there would never be drawn.
  const [box, setBox] = useState<HTMLElement | null>(null)
  const sortBy = (id: string) => setAsked(by?.id === id && !descending ? `-${id}` : id)
  const all = selection !== undefined && rows.length > 0 && rows.every(row => selection.selected.has(idOf(row)))
  const toggleAll = () => selection?.onChange(all ? new Set() : new Set(rows.map(idOf)))
  const latest = useRef(selection)
  latest.current = selection
  const toggle = useCallback((id: string) => {
    const next = new Set(latest.current?.selected)
    if (!next.delete(id)) next.add(id)
    latest.current?.onChange(next)
  }, [])
  return (
    <section
      ref={setBox}
      aria-label={label}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard too
      tabIndex={0}
      className="table-box"
      style={{ maxHeight: height }}
    >
      <Table
        stickyHeader
        fz="sm"
        verticalSpacing={0}
        miw={minWidth}
        layout="fixed"
        aria-label={label}
        aria-rowcount={sorted.length + 1}
      >
        <Table.Thead style={{ zIndex: 1 }}>
          <Table.Tr h={ROW}>
            {selection && (
              <Table.Th w={36}>
                <Checkbox
                  size="xs"
                  checked={all}
                  indeterminate={!all && selection.selected.size > 0}
                  onChange={toggleAll}
                  aria-label="select all"
                />
              </Table.Th>
            )}
            {columns.map(({ id, title, sort, align, width }) => (
              <Table.Th
                key={id}
                ta={align ?? 'left'}
                {...(width !== undefined && { w: width })}
                {...(sort && { 'aria-sort': by?.id !== id ? 'none' : descending ? 'descending' : 'ascending' })}
              >
                {sort ? (
                  <UnstyledButton fz="sm" fw={600} onClick={() => sortBy(id)}>
                    {title}
                    <span aria-hidden>{by?.id === id ? (descending ? ' ↓' : ' ↑') : ''}</span>
                  </UnstyledButton>
                ) : (
                  title
                )}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Body columns={columns} rows={sorted} idOf={idOf} box={box} selected={selection?.selected} toggle={toggle} />
      </Table>
    </section>
  )
}
