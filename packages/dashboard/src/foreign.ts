/** What attackers wrote, made visible: control characters and those that turn the direction of text show as their code. */
export function disarm(text: string, most = 300): string {
  const shown = text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    character => `\\u${(character.codePointAt(0) as number).toString(16).padStart(4, '0')}`,
  )
  return shown.length > most ? `${shown.slice(0, most)}…` : shown
}
