/** The table of all commands. */
import { init, join, leave, mesh, node, token } from "./cluster.ts";
import { bfd } from "./bfd.ts";
import { bgp } from "./bgp.ts";
import { cni } from "./cni.ts";
import { config } from "./config.ts";
import { hub } from "./hub.ts";
import type { Command } from "./command.ts";
import { convert } from "./convert.ts";
import { scripts, words } from "./completion.ts";
import { dataplane } from "./dataplane.ts";
import { kube } from "./kube.ts";
import { doctor } from "./doctor.ts";
import { gateway } from "./gateway.ts";
import { lab } from "./lab.ts";
import { peers, plan, status } from "./look.ts";
import { printText } from "./output.ts";
import { peer } from "./peer.ts";
import { apply, get, remove } from "./resource.ts";
import { operator } from "./policy.ts";
import { agent, version } from "./system.ts";
import { top } from "./top.ts";
import { vpc } from "./vpc.ts";
import { hubRelay } from "./hub-relay.ts";
import { tunnelTls } from "./tunnel-tls.ts";

const completion: Command = {
  name: "completion",
  about: "Print the completion script of a shell",
  more: "words is what the scripts ask with.",
  positionals: ["bash|zsh|fish|words", "[WORD…]"],
  examples: ["causeway completion bash > /etc/bash_completion.d/causeway"],
  async run(given) {
    const [shell, ...typed] = given.positionals;
    if (shell === "words") {
      printText(words(root, typed).join("\n"));
      return 0;
    }
    printText(scripts[shell as keyof typeof scripts]);
    return 0;
  },
};

/** root is the command `causeway` itself. */
export const root: Command = {
  name: "causeway",
  about: "One encrypted network for the scattered nodes and pods of a Kubernetes cluster",
  more: `First steps:
  on the hub:      causeway agent &    causeway init --endpoint HOST:51820
                   causeway token create --uses 10
  on every node:   causeway agent &    causeway join TOKEN
  then anywhere:   causeway status, causeway peers`,
  commands: [
    agent,
    init,
    token,
    join,
    leave,
    node,
    operator,
    hub,
    mesh,
    apply,
    get,
    remove,
    convert,
    peer,
    status,
    peers,
    plan,
    doctor,
    cni,
    kube,
    dataplane,
    hubRelay,
    tunnelTls,
    bgp,
    bfd,
    gateway,
    config,
    top,
    vpc,
    lab,
    completion,
    version,
  ],
};
