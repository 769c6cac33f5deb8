/** Comment lines at the top of a text in the editor that are ours: they go when it is read again. */
const MARK = '#! '

export const marked = (texts: readonly string[]): string =>
  texts
    .flatMap(text => text.split('\n'))
    .map(text => `${MARK}${text}\n`)
    .join('')

export const withoutMarked = (text: string): string =>
  text
    .split('\n')
    .filter(line => !line.startsWith(MARK))
    .join('\n')
