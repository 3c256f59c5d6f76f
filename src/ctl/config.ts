/** `causeway config`: a gateway's configuration and state, by Vita's verbs and paths. */
import type { ConfigRequest, PrintOptions } from "../gateway/mod.ts";
import { libc, stable } from "../sys/mod.ts";
import { type Command, type Given, type Option } from "./command.ts";
import { folderOption, GatewayClient } from "./gateway-client.ts";
import { printText, progress, readFile, readStandardInput } from "./output.ts";

const FORMATS = ["yang", "xpath", "influxdb"] as const;

const folder = { folder: folderOption };
const printing: Readonly<Record<string, Option>> = {
  format: {
    about: "yang (as it is set), xpath (a line a leaf), influxdb",
    value: "NAME",
    short: "f",
    choices: FORMATS,
  },
  "print-default": { about: "print what equals its default, too" },
  ...folder,
};

function printOf(given: Given): { readonly print: PrintOptions } {
  const format = FORMATS.find((name) => name === given.value("format"));
  return {
    print: {
      ...(format === undefined ? {} : { format }),
      ...(given.flag("print-default") ? { printDefault: true } : {}),
    },
  };
}

function ask(given: Given, request: ConfigRequest): number {
  using client = GatewayClient.open(given, `causeway config ${request.verb}`);
  const answer = client.ask({ op: "config", request });
  if (!("text" in answer)) return 1;
  for (const warning of answer.warnings ?? []) progress(`warning: ${warning}`);
  printText(answer.text);
  return 0;
}

/** The value of a verb: an argument, or all of standard input. */
function valueOf(given: Given): string {
  return given.positionals[2] ?? readStandardInput();
}

const reader = (verb: "get" | "get-state", rest: Pick<Command, "about" | "more" | "examples">): Command => ({
  name: verb,
  ...rest,
  positionals: ["NAME", "[PATH]"],
  options: printing,
  async run(given) {
    return ask(given, { verb, path: given.positionals[1] ?? "/", ...printOf(given) });
  },
});

const writer = (verb: "set" | "add", rest: Pick<Command, "about" | "more" | "examples">): Command => ({
  name: verb,
  ...rest,
  positionals: ["NAME", "PATH", "[VALUE]"],
  options: folder,
  async run(given) {
    return ask(given, { verb, path: given.positionals[1] as string, value: valueOf(given) });
  },
});

const get = reader("get", {
  about: "Print the configuration, or a part of it",
  more: "Secrets are (hidden); where (hidden) is set, what is there stays.",
  examples: ["causeway config get paris /", 'causeway config get paris "/route4[id=tokyo]/gateway"'],
});

const state = reader("get-state", {
  about: "Print counters and states",
  examples: [
    "causeway config get-state paris /gateway-state",
    'causeway config get-state paris "/gateway-state/route[id=tokyo]"',
    "causeway config get-state paris / --format xpath",
  ],
});

const set = writer("set", {
  about: "Replace the configuration, or a part of it",
  more: `VALUE is read from standard input if it is not given. It is what stands between
the braces of what PATH leads to; / is all. The whole is judged afterwards, and
what is refused changes nothing.`,
  examples: ["causeway config set paris / < vita-paris.conf", "causeway config set paris /mtu 1440"],
});

const add = writer("add", {
  about: "Add entries to a list",
  examples: ["causeway config add paris /route4 < route.conf", "causeway config add paris /cpu 3"],
});

const remove: Command = {
  name: "remove",
  about: "Remove an entry of a list",
  positionals: ["NAME", "PATH"],
  options: folder,
  examples: ['causeway config remove paris "/route4[id=tokyo]"'],
  async run(given) {
    return ask(given, { verb: "remove", path: given.positionals[1] as string });
  },
};

const load: Command = {
  name: "load",
  about: "Replace the configuration by a file's",
  positionals: ["NAME", "FILE"],
  options: folder,
  examples: ["causeway config load paris /etc/causeway/paris.conf"],
  async run(given) {
    const value = readFile(given.positionals[1] as string, "configurations are described in docs/gateway.md");
    return ask(given, { verb: "load", value });
  },
};

const CHUNK = 65536;

/** Passes standard input on, and answers back, until the input has ended and as many answers came as requests were sent. */
function passOn(client: GatewayClient): number {
  const decoder = new TextDecoder();
  const chunk = stable(CHUNK);
  client.send({ op: "listen" });
  for (let ended = false; ;) {
    const ready = libc.pollSeveral(ended ? [client.descriptor] : [client.descriptor, 0], -1);
    if (ready.includes(client.descriptor)) {
      const answers = client.receive();
      if (answers === undefined) {
        if (ended) return 0;
        throw new Error("The gateway has ended; look at its log");
      }
      for (const answer of answers) if ("text" in answer) printText(answer.text);
    } else {
      const count = libc.readInto(0, chunk);
      ended = count === 0;
      if (ended) client.send({ end: true });
      else client.send({ more: decoder.decode(chunk.subarray(0, count), { stream: true }) });
    }
  }
}

const listen: Command = {
  name: "listen",
  about: "Take requests as JSON objects, and answer them in order",
  more: `A request has id, verb (get, get-state, set, add, remove), path and value; its
answer has id, status, and value or error. While it is attached, nobody else
writes.`,
  positionals: ["NAME"],
  options: folder,
  examples: [
    `echo '{"id": "1", "verb": "set", "path": "/mtu", "value": "1440"}' | causeway config listen paris`,
  ],
  async run(given) {
    using client = GatewayClient.open(given, "causeway config listen");
    return passOn(client);
  },
};

/** config is the command. */
export const config: Command = {
  name: "config",
  about: "Configure a site gateway and read its state, as Vita's",
  commands: [get, set, add, remove, state, load, listen],
};
