/** Associations and policies as ip-xfrm(8) prints them, without keys and counters: so that it can be the witness of what we read. */
import { formatIp, formatPrefix } from "../../src/net/mod.ts";
import type { PolicyInfo, SaInfo, Selector } from "../../src/netlink/mod.ts";

const hex = (value: number, digits = 8) => `0x${value.toString(16).padStart(digits, "0")}`;

/** saText returns the lines of one association. */
export function saText(sa: SaInfo): string {
  const flags = [...sa.flags, ...(sa.extended ? ["esn"] : [])];
  return [
    `src ${formatIp(sa.source)} dst ${formatIp(sa.destination)}`,
    `proto esp spi ${hex(sa.spi)} reqid ${sa.reqid} mode ${sa.mode}`,
    // The old form of the window, which we never use.
    `replay-window 0${flags.length > 0 ? ` flag ${flags.join(" ")}` : ""}`,
    ...(sa.mark === undefined ? [] : [`mark ${hex(sa.mark.value, 1)}/${hex(sa.mark.mask, 1)}`]),
    ...(sa.algorithmName === undefined ? [] : [`aead ${sa.algorithmName} 128`]),
    ...(sa.encapsulation === undefined
      ? []
      : [
          `encap type espinudp sport ${sa.encapsulation.sourcePort} dport ${sa.encapsulation.destinationPort}`,
        ]),
    ...(sa.ifId === undefined ? [] : [`if_id ${hex(sa.ifId, 1)}`]),
    ...(sa.replay === undefined ? [] : [replayText(sa)]),
  ].join("\n");
}

function replayText({ replay }: SaInfo): string {
  if (replay === undefined) return "";
  const low = (value: bigint) => hex(Number(value & 0xffff_ffffn), 1);
  const high = (value: bigint) => hex(Number(value >> 32n), 1);
  return [
    `seq-hi ${high(replay.received)}, seq ${low(replay.received)}, oseq-hi ${high(replay.sent)}, oseq ${low(replay.sent)}`,
    `replay_window ${replay.window}, bitmap-length ${replay.bitmap.length}`,
  ].join("\n");
}

/** witnessedSas takes the output of `ip xfrm state` apart into texts like those of saText. */
export function witnessedSas(output: string): string[] {
  return blocks(output).map((lines) =>
    lines
      .filter((line) => !/^(anti-replay|[0-9a-f]{8}( [0-9a-f]{8})*$|lastused|sel |dir )/.test(line))
      .map((line) =>
        line
          .replace(/^aead (\S+) 0x[0-9a-f]+/, "aead $1")
          .replace(/ addr \S+$/, "")
          .replace(/^mark (\S+)\/(\S+).*/, "mark $1/$2"),
      )
      .join("\n"),
  );
}

/** policyText returns the lines of one policy. */
export function policyText(policy: PolicyInfo): string {
  return [
    policy.selector === undefined ? "all" : selectorText(policy.selector),
    `dir ${policy.direction} ${policy.action === "block" ? "action block " : ""}priority ${policy.priority}`,
    ...(policy.mark === undefined ? [] : [`mark ${hex(policy.mark.value, 1)}/${hex(policy.mark.mask, 1)}`]),
    ...policy.templates.flatMap((template) => [
      `tmpl src ${formatIp(template.source)} dst ${formatIp(template.destination)}`,
      `proto esp${template.spi === 0 ? "" : ` spi ${hex(template.spi)}`} reqid ${template.reqid} mode ${template.mode}`,
      ...(template.optional ? ["level use"] : []),
    ]),
    ...(policy.ifId === undefined ? [] : [`if_id ${hex(policy.ifId, 1)}`]),
  ].join("\n");
}

function selectorText({ source, destination, protocol, destinationPort, linkIndex }: Selector): string {
  return [
    `src ${formatPrefix(source)} dst ${formatPrefix(destination)}`,
    ...(protocol === 17
      ? [`proto udp${destinationPort === undefined ? "" : ` dport ${destinationPort}`}`]
      : []),
    ...(linkIndex === undefined ? [] : [`dev ${linkIndex}`]),
  ].join(" ");
}

/** witnessedPolicies takes the output of `ip xfrm policy` apart into texts like those of policyText. */
export function witnessedPolicies(output: string): string[] {
  return blocks(output)
    .filter((lines) => !lines.some((line) => line.startsWith("socket ")))
    .map((lines) =>
      lines
        .map((line) => line.replace(/^mark (\S+)\/(\S+).*/, "mark $1/$2").replace(/ ptype \S+$/, ""))
        .join("\n"),
    );
}

/** A block begins at a line without indentation. */
function blocks(output: string): string[][] {
  const found: string[][] = [];
  for (const line of output.split("\n").filter((text) => text.trim() !== "")) {
    if (!/^\s/.test(line)) found.push([]);
    found.at(-1)?.push(line.trim());
  }
  return found;
}
