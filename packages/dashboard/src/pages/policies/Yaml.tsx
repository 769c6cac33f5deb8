import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands'
import { yaml } from '@codemirror/lang-yaml'
import { bracketMatching, defaultHighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { linter, lintGutter } from '@codemirror/lint'
import { unifiedMergeView } from '@codemirror/merge'
import { EditorState, type Extension } from '@codemirror/state'
import { EditorView, keymap, lineNumbers } from '@codemirror/view'
import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useRef } from 'react'
import type { Problem } from './draft.ts'

const looks = (dark: boolean) =>
  EditorView.theme(
    {
      '&': {
        fontSize: '13px',
        border: '1px solid var(--mantine-color-default-border)',
        borderRadius: '4px',
        backgroundColor: 'var(--mantine-color-body)',
        color: 'var(--mantine-color-text)',
      },
      '.cm-scroller': { fontFamily: 'var(--mantine-font-family-monospace)', maxHeight: '60vh' },
      '.cm-gutters': { backgroundColor: 'transparent', color: 'var(--mantine-color-dimmed)', border: 'none' },
      '.cm-content': { caretColor: 'var(--mantine-color-text)' },
      '.cm-activeLine': { backgroundColor: 'transparent' },
    },
    { dark },
  )

/** On a dark ground the default colours would be too dim to read: there the text keeps its own. */
const base = (dark: boolean): Extension => [
  yaml(),
  ...(dark ? [] : [syntaxHighlighting(defaultHighlightStyle)]),
  looks(dark),
  EditorView.lineWrapping,
]

interface EditorProps {
  readonly text: string
  readonly onChange: (text: string) => void
  readonly check: (text: string) => readonly Problem[]
  readonly readOnly: boolean
}

/** YAML, checked while one types. */
export function YamlEditor({ text, onChange, check, readOnly }: EditorProps) {
  const host = useRef<HTMLDivElement>(null)
  const view = useRef<EditorView>(undefined)
  const dark = useComputedColorScheme('light') === 'dark'
  const latest = useRef({ text, onChange, check })
  latest.current = { text, onChange, check }

  useEffect(() => {
    const made = new EditorView({
      parent: host.current as HTMLDivElement,
      state: EditorState.create({
        doc: latest.current.text,
        extensions: [
          lineNumbers(),
          history(),
          bracketMatching(),
          keymap.of([...defaultKeymap, ...historyKeymap, indentWithTab]),
          lintGutter(),
          linter(
            ({ state }) =>
              latest.current
                .check(state.doc.toString())
                .map(problem => ({ ...clamp(problem, state.doc.length), severity: 'error' as const })),
            { delay: 200 },
          ),
          EditorState.readOnly.of(readOnly),
          EditorView.contentAttributes.of({ 'aria-label': 'policy as YAML' }),
          EditorView.updateListener.of(update => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString())
          }),
          base(dark),
        ],
      }),
    })
    view.current = made
    return () => made.destroy()
  }, [dark, readOnly])

  useEffect(() => {
    const present = view.current
    if (!present || present.state.doc.toString() === text) return
    present.dispatch({ changes: { from: 0, to: present.state.doc.length, insert: text } })
  }, [text])

  return <div ref={host} />
}

const clamp = ({ from, to, message }: Problem, length: number) => ({
  from: Math.min(from, length),
  to: Math.min(to, length),
  message,
})

/** What changes from one text to the other. */
export function YamlDiff({ before, after, label }: { before: string; after: string; label: string }) {
  const host = useRef<HTMLDivElement>(null)
  const dark = useComputedColorScheme('light') === 'dark'
  useEffect(() => {
    const made = new EditorView({
      parent: host.current as HTMLDivElement,
      state: EditorState.create({
        doc: after,
        extensions: [
          unifiedMergeView({ original: before, mergeControls: false, highlightChanges: false, gutter: true }),
          EditorState.readOnly.of(true),
          EditorView.editable.of(false),
          EditorView.contentAttributes.of({ 'aria-label': label, tabindex: '0' }),
          base(dark),
        ],
      }),
    })
    return () => made.destroy()
  }, [before, after, label, dark])
  return <div ref={host} />
}
