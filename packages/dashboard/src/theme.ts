import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from '@mantine/core'
import { LOOKS, SHOWN } from './outcomes.ts'

const slate: MantineColorsTuple = [
  '#eef3f8',
  '#dbe4ee',
  '#b6c9dd',
  '#8eacca',
  '#6d93ba',
  '#4f7aa6',
  '#3d6690',
  '#2f5379',
  '#254465',
  '#1a3250',
]

export const theme = createTheme({
  primaryColor: 'slate',
  primaryShade: { light: 7, dark: 6 },
  autoContrast: true,
  colors: { slate },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace',
  defaultRadius: 'sm',
  headings: { fontWeight: '600', sizes: { h1: { fontSize: '1.25rem' }, h2: { fontSize: '1rem' } } },
})

const looks = (scheme: 'light' | 'dark') => Object.fromEntries(SHOWN.map(key => [`--${key}`, LOOKS[key][scheme]]))

/** The outcomes' colours as --allowed, --limited, …, for whatever scheme is on. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: { ...looks('light'), '--mantine-color-dimmed': '#5c6570' },
  dark: { ...looks('dark'), '--mantine-color-dimmed': '#a3abb5' },
})
