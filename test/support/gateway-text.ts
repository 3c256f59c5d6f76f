/** Random configurations of gateways as text: valid, and spelled in every way that the text form has. */
import type { Random } from "./random.ts";

/** Piece is a statement before it is spelled. */
export type Piece = readonly [keyword: string, value: string | readonly Piece[]];

const hex = (random: Random, bytes: number) => Buffer.from(random.bytes(bytes)).toString("hex");

function address(random: Random, family: 4 | 6, number: number): string {
  if (family === 4) return `10.${number >> 8}.${number & 255}.${1 + random.below(250)}`;
  return `2001:db8:${number.toString(16)}::${(1 + random.below(65000)).toString(16)}`;
}

function link(random: Random, family: 4 | 6, number: number): Piece[] {
  const pieces: Piece[] = [
    ["ip", address(random, family, number)],
    ["nexthop-ip", address(random, family, number + 1)],
    ["ifname", `if${number}`],
  ];
  if (random.chance(0.5)) pieces.push(["mac", `02:00:00:00:${hex(random, 1)}:${hex(random, 1)}`]);
  if (random.chance(0.5)) pieces.push(["nexthop-mac", `02:00:00:01:${hex(random, 1)}:${hex(random, 1)}`]);
  return pieces;
}

function publicLink(random: Random, family: 4 | 6, queue: number): Piece {
  const pieces = link(random, family, 100 * family + 2 * queue);
  if (queue !== 1 || random.chance(0.5)) pieces.push(["queue", `${queue}`]);
  if (random.chance(0.5)) pieces.push(["device-queue", `${1 + random.below(8)}`]);
  if (random.chance(0.5)) pieces.push(["nat-ip", address(random, family, 2000 + queue)]);
  return [`public-interface${family}`, pieces];
}

function gateways(random: Random, families: readonly (4 | 6)[], number: number): Piece[] {
  return Array.from({ length: 1 + random.below(3) }, (_, i): Piece => {
    const ip: Piece = ["ip", address(random, random.pick(families), 3000 + 4 * number + i)];
    return ["gateway", i === 0 && random.chance(0.5) ? [ip] : [ip, ["queue", `${i + 1}`]]];
  });
}

function net(random: Random, family: 4 | 6, number: number): Piece {
  // Host bits are dropped where it is read.
  if (family === 4) return ["net", `172.${number >> 8}.${number & 255}.${random.pick([0, 0, 9])}/24`];
  return ["net", `fd00:${number.toString(16)}::${random.pick(["", "", "9"])}/32`];
}

function vitaRoute(random: Random, family: 4 | 6, number: number): Piece {
  return [
    `route${family}`,
    [
      ["id", `route_${number}`],
      ["spi", `${256 + number}`],
      ["preshared-key", hex(random, 32)],
      net(random, family, number),
      ...gateways(random, [family], number),
    ],
  ];
}

function ownRoute(random: Random, number: number): Piece {
  const vita = random.chance(0.3);
  const pieces: Piece[] = [
    ["id", `site-${number}.x`],
    ["spi", `${4_000_000_000 + number}`],
    net(random, 4, number),
    net(random, 6, number),
    random.chance(0.5) ? ["preshared-key", hex(random, 32)] : ["preshared-key-file", `/keys/${number}`],
  ];
  if (vita) return ["route", [...pieces, ["exchange", "vita"], ...gateways(random, [4], number)]];
  if (random.chance(0.5)) pieces.push(["exchange", "causeway"]);
  if (random.chance(0.5)) pieces.push(["algorithm", random.pick(["aes-128-gcm", "chacha20-poly1305"])]);
  if (random.chance(0.5)) pieces.push(["encapsulation", random.pick(["auto", "always"])]);
  return ["route", random.chance(0.7) ? [...pieces, ...gateways(random, [4, 6], number)] : pieces];
}

function association(random: Random, name: "outbound-sa" | "inbound-sa", number: number): Piece {
  const long = random.chance(0.5);
  return [
    name,
    [
      ["spi", `${256 + number}`],
      ["route", `route_${number}`],
      ["aead", long ? "aes-256-gcm-16-icv" : "aes-gcm-16-icv"],
      ["key", hex(random, long ? 32 : 16)],
      ["salt", hex(random, 4)],
      ...(random.chance(0.5) ? ([["queue", `${1 + random.below(4)}`]] as const) : []),
    ],
  ];
}

/** randomGateway returns the statements of a valid configuration. */
export function randomGateway(random: Random): Piece[] {
  const pieces: Piece[] = [
    ["private-interface4", link(random, 4, 1)],
    ["private-interface6", link(random, 6, 1)],
  ];
  for (const family of [4, 6] as const)
    for (let queue = 1; queue <= random.below(4); queue++) pieces.push(publicLink(random, family, queue));
  for (let number = 0; number < random.below(12); number++)
    pieces.push(
      random.chance(0.6) ? vitaRoute(random, random.pick([4, 6]), number) : ownRoute(random, number),
    );
  if (random.chance(0.3)) {
    pieces.push(["data-plane", "true"]);
    for (const name of ["outbound-sa", "inbound-sa"] as const)
      for (let number = 0; number < random.below(4); number++) pieces.push(association(random, name, number));
  }
  const leaves: Piece[] = [
    ["mtu", `${random.below(8924)}`],
    ["tfc", random.pick(["true", "false"])],
    ["protocol-port", `${1 + random.below(65535)}`],
    ["negotiation-ttl", `${1 + random.below(100)}`],
    ["sa-ttl", `${1 + random.below(100_000)}`],
    ["sa-bytes", `${random.u64() | 1n}`],
    ["backend", random.pick(["auto", "kernel", "user"])],
    ["cpu", "2"],
    ["cpu", "3"],
  ];
  return [...pieces, ...leaves.filter(() => random.chance(0.5))];
}

function blank(random: Random): string {
  return random.pick([" ", "\n", "\t", "  ", " // a comment; { }\n", " /* another\n } */ "]);
}

function spellValue(random: Random, value: string): string {
  const cut = random.below(value.length + 1);
  const pairs = value.length === 64 && random.chance(0.5) ? value.replaceAll(/../g, "$& ").trim() : value;
  return random.pick([
    /[\s/]/.test(pairs) ? `"${pairs}"` : pairs,
    `"${pairs}"`,
    `'${pairs}'`,
    `"${value.slice(0, cut)}" + '${value.slice(cut)}'`,
  ]);
}

/** spell writes statements in one of the many ways that mean the same; members in any order. */
export function spell(random: Random, pieces: readonly Piece[]): string {
  const left = [...pieces];
  let text = "";
  while (left.length > 0) {
    // Lists keep their order: entries are looked at in it.
    const [keyword, value] = left.splice(0, 1)[0] as Piece;
    const body =
      typeof value === "string"
        ? `${spellValue(random, value)}${random.pick(["", blank(random)])};`
        : spellBlock(random, value);
    text += `${random.pick(["", blank(random)])}${keyword}${blank(random)}${body}`;
  }
  return text + random.pick(["", blank(random)]);
}

function spellBlock(random: Random, value: readonly Piece[]): string {
  return `{${spell(random, value)}}`;
}
