/** The table of all commands. */
import { init, join, leave, mesh, node, token } from "./cluster.ts";
import type { Command } from "./command.ts";
import { scripts, words } from "./completion.ts";
import { lab } from "./lab.ts";
import { peers, plan, status } from "./look.ts";
import { printText } from "./output.ts";
import { agent, cni, version } from "./system.ts";

const completion: Command = {
  name: "completion",
  about: "Print the completion script of a shell",
  positionals: ["bash|zsh|fish", "[WORDS…]"],
  examples: ["causeway completion bash > /etc/bash_completion.d/causeway"],
  async run(given) {
    const [shell, ...typed] = given.positionals;
    if (shell === "words") {
      printText(words(root, typed).join("\n"));
      return 0;
    }
    const script = scripts[shell as keyof typeof scripts] as string | undefined;
    if (script === undefined)
      throw new Error(`There is no completion for "${shell}"; there is for bash, zsh and fish`);
    printText(script);
    return 0;
  },
};

/** root is the command `causeway` itself. */
export const root: Command = {
  name: "causeway",
  about: "Causeway: one encrypted network for the scattered nodes of a Kubernetes cluster, and their pods",
  more: `First steps:
  on the hub:      causeway agent &    causeway init --endpoint HOST:51820
                   causeway token create --uses 10
  on every node:   causeway agent &    causeway join TOKEN
  then anywhere:   causeway status, causeway peers`,
  commands: [agent, init, token, join, leave, node, mesh, status, peers, plan, cni, lab, completion, version],
};
