/** The doctor's rules in real firewalls, judged by packets: let through after, refused before, gone again at last; put back after a reload. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Inbox, sendDatagram } from "../support/datagrams.ts";
import { DoctorWorld } from "../support/doctor-world.ts";
import { lacksTool, notRoot } from "../support/scratch.ts";

setDefaultTimeout(60_000);
const why = notRoot ?? lacksTool("nft") ?? lacksTool("iptables-nft") ?? lacksTool("iptables-legacy");
const run = why === undefined ? test : test.skip;
const note = why === undefined ? "" : ` (skipped: ${why})`;

const iptables = (tool: string) => `
${tool} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
${tool} -A INPUT -p tcp --dport 22 -j ACCEPT
${tool} -A INPUT -j REJECT --reject-with icmp-host-prohibited
${tool} -N other
${tool} -A other -j REJECT --reject-with icmp-host-prohibited
${tool} -A FORWARD -j other`;

const nft = `nft -f - <<'END'
table inet filter {
  chain input { type filter hook input priority 0; policy drop; ct state established,related accept; tcp dport 22 accept; }
  chain refuse { reject with icmpx admin-prohibited; }
  chain forward { type filter hook forward priority 10; policy accept; ct state vmap { invalid : drop, established : accept }; goto refuse; }
}
END`;

/** An accept in one of them does not let through what the next refuses. */
const all = [iptables("iptables-nft"), iptables("iptables-legacy"), nft].join("\n");

/** Both as tools show them, without counters and handles. */
function shown(world: DoctorWorld): string {
  const text = world.shell(
    "iptables-nft-save 2>/dev/null; iptables-legacy-save; nft list table inet filter 2>/dev/null || true",
  );
  return text
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\[\d+:\d+\]/g, "")
    .replaceAll(/packets \d+ bytes \d+/g, "");
}

function send(world: DoctorWorld, text: string): void {
  sendDatagram(world.tunnel, { from: "10.90.0.3", to: "10.90.0.2", port: 10250, text: `${text}-node` });
  sendDatagram(world.tunnel, { from: "10.244.2.5", to: "10.244.1.5", port: 9, text: `${text}-pod` });
}

describe(`the doctor's firewall rules${note}`, () => {
  run("let through what iptables-nft, iptables-legacy and nft each refuse", async () => {
    using world = new DoctorWorld();
    using node = await Inbox.open(world.node, [["0.0.0.0", 10250]]);
    using pod = await Inbox.open(world.pod, [["0.0.0.0", 9]]);
    world.shell(all);
    const before = shown(world);
    send(world, "before");
    const checks = await world.checks("fix", "firewall-input", "firewall-forward");
    expect(Object.values(checks).map(({ id, ok }) => [id, ok])).toEqual([
      ["firewall-input", true],
      ["firewall-forward", true],
    ]);
    send(world, "after");
    await Promise.all([node.until("after-node"), pod.until("after-pod")]);
    expect([node.heard, pod.heard]).toEqual([["after-node from 10.90.0.3"], ["after-pod from 10.244.2.5"]]);
    // What others wrote is there, in its order, and a second time changes nothing.
    const after = shown(world);
    const others = (text: string) => text.split("\n").filter((line) => !line.includes("causeway: "));
    expect(others(after)).toEqual(others(before));
    await world.doctor("fix", "firewall-input", "firewall-forward");
    expect(shown(world)).toBe(after);
    await world.doctor("undo");
    expect(shown(world)).toBe(before);
  });

  run(
    "rules of iptables-legacy beside those of nf_tables are found; of one kind alone, or ours in both, not",
    async () => {
      using world = new DoctorWorld();
      const kinds = async () => (await world.checks("look", "iptables-kinds"))["iptables-kinds"];
      expect(await kinds()).toMatchObject({ ok: true, found: "nobody else has rules" });
      world.shell("iptables-legacy -N KUBE-FORWARD; iptables-legacy -A FORWARD -j KUBE-FORWARD");
      expect(await kinds()).toMatchObject({ ok: true });
      world.shell("ip6tables-nft -A INPUT -p tcp --dport 22 -j ACCEPT");
      expect(await kinds()).toMatchObject({
        ok: false,
        found:
          "both kinds have rules: iptables-nft ip6 filter, iptables-legacy ip filter (Kubernetes' chains)",
        fix: expect.stringContaining("update-alternatives --set iptables"),
      });
      world.shell("ip6tables-nft -F");
      expect(await kinds()).toMatchObject({ ok: true });
      // A policy is a rule.
      world.shell(
        "nft add table inet mine; nft add chain inet mine in '{ type filter hook input priority 0; policy drop; }'",
      );
      expect(await kinds()).toMatchObject({ ok: false, found: expect.stringContaining("nft inet mine") });
      world.shell("nft flush ruleset; iptables-legacy -F; iptables-legacy -X; iptables-legacy -P INPUT DROP");
      expect((await world.checks("fix", "firewall-input"))["firewall-input"]?.ok).toBe(true);
      world.shell("iptables-legacy -P INPUT ACCEPT; iptables-nft -P INPUT DROP");
      expect((await world.checks("fix", "firewall-input"))["firewall-input"]?.ok).toBe(true);
      expect(await kinds()).toMatchObject({ ok: true, found: "iptables-nft ip filter" });
    },
  );

  run("what refuses is named, with the commands", async () => {
    using world = new DoctorWorld();
    world.shell(iptables("iptables-nft"));
    const { "firewall-input": input, "firewall-forward": forward } = await world.checks("look");
    expect(input).toMatchObject({
      ok: false,
      found: expect.stringContaining("iptables-nft ip filter INPUT (rule 3)"),
    });
    expect(input?.fix).toContain(
      "iptables-nft -w -t filter -I INPUT 3 -i cw0 -s 10.90.0.0/16 -d 10.90.0.2/32",
    );
    expect(forward).toMatchObject({ ok: false, found: expect.stringContaining("FORWARD (rule 1)") });
    // A chain of nft's own in the same table, which iptables-save does not print.
    world.shell("nft add chain ip filter mine '{ type filter hook input priority 10; policy drop; }'");
    const { "firewall-input": both } = await world.checks("look", "firewall-input");
    expect(both?.found).toContain("INPUT (rule 3), nft ip filter mine (policy drop)");
  });

  run("chains that are left early to their policy get each accept once", async () => {
    using world = new DoctorWorld();
    world.shell(`nft -f - <<'END'
table ip filter {
  chain zone { tcp dport 22 accept; }
  chain input { type filter hook input priority 0; policy drop; ct state established accept; goto zone; }
}
END
iptables-legacy -P INPUT DROP
iptables-legacy -A INPUT -j RETURN`);
    const { "firewall-input": done } = await world.checks("fix", "firewall-input");
    expect(done?.ok).toBe(true);
    const after = shown(world) + world.shell("nft list table ip filter");
    for (const text of [
      'iifname "cw0" .*causeway: nodes of the mesh',
      "-i cw0 .*causeway: nodes of the mesh",
    ])
      expect(after.match(new RegExp(text, "g"))).toHaveLength(1);
    await world.doctor("fix", "firewall-input");
    expect(shown(world) + world.shell("nft list table ip filter")).toBe(after);
    await world.doctor("undo");
    expect(shown(world) + world.shell("nft list table ip filter")).not.toContain("causeway: ");
  });

  run("the agent's part puts rules back after a reload, and not when it was not asked", async () => {
    using world = new DoctorWorld();
    using node = await Inbox.open(world.node, [["0.0.0.0", 10250]]);
    const load = iptables("iptables-nft");
    world.shell(load);
    const [program = "", ...args] = world.argv("keep");
    const child = world.node.run((): ReturnType<typeof spawn> =>
      spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] }),
    );
    try {
      const lines = createInterface({ input: child.stdout as NonNullable<typeof child.stdout> })[
        Symbol.asyncIterator
      ]();
      expect((await lines.next()).value).toBe("ready");
      world.shell("iptables-nft -F; iptables-nft -X");
      world.shell(all);
      expect(world.shell("iptables-nft-save")).not.toContain("causeway: ");
      await world.checks("fix", "firewall-input", "firewall-forward");
      for (const reload of [
        `iptables-nft -F\niptables-nft -X\n${load}`,
        `nft flush ruleset\n${nft}`,
        `iptables-legacy -F\niptables-legacy -X\n${iptables("iptables-legacy")}`,
      ]) {
        world.shell(reload);
        expect((await lines.next()).value).toMatch(/^put back \d+$/);
        send(world, "again");
        await node.until("again-node");
        node.heard.length = 0;
      }
      expect((await world.checks("look", "firewall-kept"))["firewall-kept"]).toMatchObject({ ok: false });
      // What the administrator denies later, ahead of our rules, is said and left.
      world.shell("nft insert rule inet filter forward reject with icmpx admin-prohibited");
      expect((await lines.next()).value).toMatch(/^problem .*refused though our rules are there/);
      expect(
        world.shell("nft list chain inet filter forward").match(/causeway: nodes to pods/g),
      ).toHaveLength(1);
    } finally {
      child.kill("SIGKILL");
    }
  });
});
