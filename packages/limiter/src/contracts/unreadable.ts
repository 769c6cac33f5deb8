/** What a parser of YAML says first about a text that it cannot read; `offset` in characters. */
interface Mistake {
  readonly offset: number
  readonly message: string
}

/** Why a text is neither YAML nor JSON, and where: of what is meant to be JSON in JSON's words, not in those of YAML. */
export function unreadable(text: string, yaml: Mistake): Mistake {
  const json = /^\s*(\[\s*)?\{\s*"/.test(text) ? jsonMistake(text) : undefined
  if (json) return { ...json, message: `is not JSON: ${json.message}` }
  const mend = /^Alias/.test(yaml.message) ? '. Write what begins with * in quotes: match: "*"' : ''
  return { ...yaml, message: `is neither YAML nor JSON: ${yaml.message}${mend}` }
}

function jsonMistake(text: string): Mistake | undefined {
  try {
    JSON.parse(text)
  } catch (error) {
    const [, message, offset] = /^(.*) in JSON at position (\d+)/s.exec((error as Error).message) ?? []
    if (message !== undefined) return { offset: Number(offset), message }
  }
  return undefined
}
