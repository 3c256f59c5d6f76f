/** Completion scripts for shells, made from the table of commands, so that they never lag behind it. */
import { type Command, isChoice } from "./command.ts";
import { rootFor } from "./commands.ts";
import { printText } from "./output.ts";

/** words returns what may follow the given words: commands, options, or choices of an option. */
export function words(root: Command, typed: readonly string[]): string[] {
  let command = root;
  const before = typed.slice(0, -1);
  for (const word of before) {
    const child = command.commands?.find((candidate) => candidate.name === word);
    if (child !== undefined) command = child;
  }
  const last = before.at(-1);
  const option = Object.entries(command.options ?? {}).find(
    ([name, { short }]) => last === `--${name}` || (short !== undefined && last === `-${short}`),
  )?.[1];
  const offered =
    option?.value !== undefined
      ? (option.choices ?? [])
      : [
          ...(command.commands ?? []).map((child) => child.name),
          ...choices(command),
          ...Object.keys(command.options ?? {}).map((name) => `--${name}`),
          "--help",
        ];
  return offered.filter((word) => word.startsWith(typed.at(-1) ?? ""));
}

/** What the first argument is one of; `words` is not for people. */
function choices(command: Command): string[] {
  if (command.choices !== undefined) return [...command.choices];
  const first = command.positionals?.[0] ?? "";
  return isChoice(first) ? first.split("|").filter((word) => word !== "words") : [];
}

/** completion is the command; `words` is what the scripts ask with. */
export const completion: Command = {
  name: "completion",
  about: "Print the completion script of a shell",
  more: "words is what the scripts ask with.",
  positionals: ["bash|zsh|fish|words", "[WORD…]"],
  examples: ["causeway completion bash > /etc/bash_completion.d/causeway"],
  async run(given) {
    const [shell, ...typed] = given.positionals;
    if (shell !== "words") printText(scripts[shell as keyof typeof scripts]);
    else printText(words(await rootFor(typed.length > 1 ? typed[0] : undefined), typed).join("\n"));
    return 0;
  },
};

/** scripts are what `causeway completion SHELL` prints; each asks the executable itself. */
export const scripts: Readonly<Record<"bash" | "zsh" | "fish", string>> = {
  bash: `_causeway() {
  local IFS=$'\\n'
  COMPREPLY=($(causeway completion words -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _causeway causeway
`,
  zsh: `#compdef causeway
_causeway() {
  local -a offered
  offered=(\${(f)"$(causeway completion words -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  compadd -a offered
}
compdef _causeway causeway
`,
  fish: `complete -c causeway -f -a '(causeway completion words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
};
