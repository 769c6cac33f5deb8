/** `bouncer completion words -- WORDS…` answers with one candidate a line, a tab, and what it is. */
const bash = `# bouncer completion for bash.  Now: eval "$(bouncer completion bash)"   For good: add that line to ~/.bashrc
_bouncer() {
  local program=\${COMP_WORDS[0]/#\\~/$HOME} word i
  local -a words=()
  # bash breaks words at colons and equals signs; addresses and --option=value hold them.
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((\${#words[@]} > 0)) && [[ $word == [:=]* || \${words[-1]} == *[:=] ]] && ((i > 1)); then
      words[-1]+=$word
    else
      words+=("$word")
    fi
  done
  local current=\${words[-1]} stuck=''
  [[ $current == *[:=]* ]] && stuck=\${current%"\${current##*[:=]}"}
  COMPREPLY=()
  while IFS=$'\\t' read -r word _; do
    if [[ $word == :files ]]; then
      compopt -o default 2>/dev/null
      COMPREPLY=()
      return
    fi
    COMPREPLY+=("\${word#"$stuck"}")
  done < <("$program" completion words -- "\${words[@]}" 2>/dev/null)
}
complete -F _bouncer bouncer
`

const zsh = `#compdef bouncer
# bouncer completion for zsh.  Now: source <(bouncer completion zsh)   For good: bouncer completion zsh > a folder of $fpath, as _bouncer
_bouncer() {
  local -a candidates
  local line value help
  while IFS= read -r line; do
    value=\${line%%$'\\t'*}
    help=\${line#*$'\\t'}
    if [[ $value == :files ]]; then
      _files
      return
    fi
    candidates+=("\${value//:/\\\\:}:$help")
  done < <("\${words[1]}" completion words -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe bouncer candidates
}
if [[ \${funcstack[1]} == _bouncer ]]; then _bouncer "$@"; else compdef _bouncer bouncer; fi
`

const fish = `# bouncer completion for fish.  Now: bouncer completion fish | source   For good: bouncer completion fish > ~/.config/fish/completions/bouncer.fish
function __bouncer_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in ($words[1] completion words -- $words[2..-1] 2>/dev/null)
    if test "$line" = ':files'
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c bouncer -f -a '(__bouncer_complete)'
`

export const SCRIPTS: Readonly<Record<string, string>> = { bash, zsh, fish }
