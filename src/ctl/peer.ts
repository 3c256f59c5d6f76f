/** `causeway peer`: machines outside the mesh's nodes, with a plain WireGuard configuration, such as a laptop or a router. */
import type { Results } from "../agent/mod.ts";
import { bitsOf, parseIp, parsePrefix, parsePublicKey, PrivateKey, Secret } from "../net/mod.ts";
import { formatWgQuick, type WgQuickFile } from "../plain/mod.ts";
import { exists, writeAtomic } from "../sys/mod.ts";
import { ask } from "./client.ts";
import { type Command, type Given, withJson } from "./command.ts";
import { printJson, printText, progress } from "./output.ts";
import { qrText } from "./qr.ts";
import { ago, table } from "./table.ts";

const DEFAULT_KEEPALIVE_SECONDS = 25;

type Added = Results["peer-add"];

/** peerFile returns the configuration of a peer's machine. Without its private key, the machine has that. */
export function peerFile(
  added: Added,
  own: {
    readonly keys: {
      readonly publicKey: string;
      readonly privateKey?: PrivateKey;
      readonly presharedKey?: Secret;
    };
    readonly keepaliveSeconds: number;
    readonly dns: readonly string[];
  },
): WgQuickFile {
  const { peer, hub, networks, mtuBytes } = added;
  const { privateKey, presharedKey } = own.keys;
  const addresses = [peer.overlay4, peer.overlay6].filter((text) => text !== undefined).map(parseIp);
  return {
    about: [`${peer.name}, external peer of a mesh of Causeway, carried by ${hub.name}`],
    publicKey: parsePublicKey(own.keys.publicKey),
    ...(privateKey === undefined ? {} : { privateKey }),
    addresses: addresses.map((ip) => ({ ip, length: bitsOf(ip.family) })),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
    dns: own.dns.map(parseIp),
    postUp: [],
    postDown: [],
    peers: [
      {
        name: hub.name,
        publicKey: parsePublicKey(hub.publicKey),
        ...(presharedKey === undefined ? {} : { presharedKey }),
        allowedIps: networks.map(parsePrefix),
        endpoints: hub.endpoints,
        ...(own.keepaliveSeconds === 0 ? {} : { keepaliveSeconds: own.keepaliveSeconds }),
      },
    ],
  };
}

function checkOutput(given: Given): string | undefined {
  const path = given.value("output");
  if (path !== undefined && exists(path))
    throw new Error(`Cannot write ${path}: it is there already; name another file with --output`);
  return path;
}

const add: Command = {
  name: "add",
  about: "Add a peer (on the hub that carries it); its file is shown once",
  more: `Makes a key pair and prints the file for wg-quick(8), or a QR code for the
WireGuard app. The private key is not kept: print it, or write it, now.
A device that keeps its own key is added with --public-key.

The peer reaches nodes, pods and networks behind them as they are now, through
this hub, which decrypts its traffic.`,
  positionals: ["NAME"],
  options: withJson({
    allowed: { about: "network behind the peer (repeat)", value: "PREFIX", many: true },
    psk: { about: "with a pre-shared key" },
    "public-key": { about: "the device keeps its own key", value: "KEY" },
    output: { about: "write the file (0600) instead of printing it", value: "FILE" },
    qr: { about: "print a QR code" },
    dns: { about: "name server of the peer (repeat)", value: "ADDRESS", many: true },
    keepalive: { about: "keeps its NAT open (default 25; 0: none)", value: "SECONDS" },
    endpoint: { about: "where the hub calls it (default: it calls)", value: "ADDRESS:PORT" },
    role: { about: "what rules see of it (default external)", value: "ROLE" },
    site: { about: "name of the place where it stands", value: "NAME" },
  }),
  examples: [
    "causeway peer add phone --qr",
    "causeway peer add laptop --psk --output laptop.conf",
    "causeway peer add router --allowed 192.168.7.0/24 --public-key 4Dm7…=",
  ],
  async run(given) {
    const path = checkOutput(given);
    const theirs = given.value("public-key");
    const privateKey = theirs === undefined ? PrivateKey.random() : undefined;
    const publicKey = privateKey?.publicKey ?? parsePublicKey(theirs as string);
    const presharedKey = given.flag("psk") ? Secret.random() : undefined;
    const name = given.positionals[0] as string;
    const keepaliveSeconds = given.number("keepalive") ?? DEFAULT_KEEPALIVE_SECONDS;
    for (const address of given.values("dns")) parseIp(address);
    for (const prefix of given.values("allowed")) parsePrefix(prefix);
    const [endpoint, role, site] = ["endpoint", "role", "site"].map((option) => given.value(option));
    const added = await ask(
      {
        op: "peer-add",
        name,
        publicKey,
        allowed: [...given.values("allowed")],
        ...(presharedKey === undefined ? {} : { presharedKey: presharedKey.toFile().trim() }),
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(role === undefined ? {} : { role }),
        ...(site === undefined ? {} : { site }),
      },
      progress,
    );
    const keys = {
      publicKey,
      ...(privateKey === undefined ? {} : { privateKey }),
      ...(presharedKey === undefined ? {} : { presharedKey }),
    };
    const text = formatWgQuick(peerFile(added, { keys, keepaliveSeconds, dns: given.values("dns") }));
    try {
      if (path !== undefined) writeAtomic(path, text, 0o600);
    } catch (error) {
      // Nobody has the key that it was added with.
      await ask({ op: "peer-remove", name }, progress);
      throw error;
    }
    if (given.flag("json"))
      return printJson({ ...added, ...(path === undefined ? { configuration: text } : { file: path }) });
    if (given.flag("qr")) printText(qrText(text));
    else if (path === undefined) printText(text);
    progress(
      path === undefined ? "the private key is not kept; this is the only time it is shown" : `wrote ${path}`,
    );
    return 0;
  },
};

/** peer is `causeway peer`. */
export const peer: Command = {
  name: "peer",
  about: "Laptops, routers and others with plain WireGuard, carried by a hub",
  commands: [
    add,
    {
      name: "list",
      about: "List external peers; where each was heard, on the hub that carries it",
      options: withJson(),
      async run(given) {
        const result = await ask({ op: "peer-list" }, progress);
        if (given.flag("json")) return printJson(result);
        printText(
          table(
            ["NAME", "OVERLAY", "BEHIND IT", "HUB", "ENDPOINT", "HANDSHAKE"],
            result.peers.map((entry) => [
              entry.name,
              [entry.overlay4, entry.overlay6].filter(Boolean).join(", "),
              entry.allowed.join(", "),
              entry.hub,
              entry.endpoint ?? "",
              entry.lastHandshakeSeconds === undefined ? "" : `${ago(entry.lastHandshakeSeconds)} ago`,
            ]),
          ),
        );
        for (const { name, problem } of result.peers)
          if (problem !== undefined) progress(`${name}: ${problem}`);
        return 0;
      },
    },
    {
      name: "remove",
      about: "Remove a peer: its key is not accepted any more",
      positionals: ["NAME"],
      options: withJson(),
      examples: ["causeway peer remove laptop"],
      async run(given) {
        const name = given.positionals[0] as string;
        await ask({ op: "peer-remove", name }, progress);
        if (given.flag("json")) return printJson({ name, removed: true });
        progress("removed");
        return 0;
      },
    },
  ],
};
