/** A link of a router whose address is leased: macvlan and dhcp of Debian's CNI plugins, with a DHCP server (busybox) in the fabric. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { runSync, unixPeer } from "../../src/sys/mod.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { BUSYBOX } from "../support/runtime-image.ts";
import { lacksKind, notRoot } from "../support/scratch.ts";

setDefaultTimeout(180_000);

/** Where Debian has them (containernetworking-plugins). */
const PLUGINS = "/usr/lib/cni";

const lacks =
  notRoot ??
  (existsSync(`${PLUGINS}/dhcp`) ? undefined : "containernetworking-plugins is not installed") ??
  (existsSync(BUSYBOX) ? undefined : "needs busybox-static") ??
  lacksKind({ name: "x", type: "macvlan", parent: 0, mode: "bridge" });

const plugins = [{ type: "macvlan", master: "eth1", ipam: { type: "dhcp" } }];
const UNDERLAY = `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: net1, cni: {config: ${JSON.stringify({ cniVersion: "1.0.0", name: "fabric", plugins })}}}]
  neighbors: [{address: 192.168.11.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.1/32]}
`;

describe.skipIf(lacks !== undefined)(
  `a link of an edge with an address by DHCP${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    let lab: EdgeLab;
    let node: EdgeNode;
    let server: Bun.Subprocess | undefined;
    beforeEach(() => {
      lab = new EdgeLab({ names: ["a"] });
      node = lab.node("a");
      node.plugins = [node.folder, PLUGINS];
      node.text("ip address flush dev eth1");
      serve();
      node.start();
    });
    afterEach(async () => {
      node.follow("");
      await until("all is taken down", async () => !existsSync(`${node.folder}/edge-chains.json`));
      for (const socket of [`${node.folder}/edge-dhcp.sock`, anothers()].filter((path) => existsSync(path)))
        process.kill(unixPeer(socket).pid, "SIGKILL");
      await endServer();
      await lab?.[Symbol.asyncDispose]();
    });

    const daemon = () => unixPeer(`${node.folder}/edge-dhcp.sock`).pid;
    const anothers = () => `${node.folder}/another.sock`;
    const serve = () => {
      const path = `${node.folder}/udhcpd`;
      const lines = [
        ...["start 192.168.11.3", "end 192.168.11.3", "interface to-a", "option subnet 255.255.255.0"],
        ...[`lease_file ${path}.leases`, `pidfile ${path}.pid`, "option lease 120", "auto_time 1"],
      ];
      writeFileSync(`${path}.conf`, `${lines.join("\n")}\n`);
      if (!existsSync(`${path}.leases`)) writeFileSync(`${path}.leases`, "");
      server = lab.scratch.netns.run(() =>
        Bun.spawn([BUSYBOX, "udhcpd", "-f", `${path}.conf`], { stdout: "ignore", stderr: "ignore" }),
      );
    };
    const endServer = async () => {
      server?.kill();
      await server?.exited;
    };
    /** What the server has given, each a line of an Ethernet address, an address, and how long it holds. */
    const leases = () =>
      runSync([BUSYBOX, "dumpleases", "-f", `${node.folder}/udhcpd.leases`])
        .stdout.trim()
        .split("\n")
        .slice(1);
    const shown = () => {
      try {
        return node.text("ip -o -4 address show dev net1", "cw-underlay");
      } catch {
        return "";
      }
    };
    const indexOf = () => /^\d+/.exec(shown())?.[0];
    const daemonLog = () => readFileSync(`${node.folder}/edge-dhcp.log`, "utf8");
    const address = () => /inet (192\.168\.11\.3)\/24/.exec(shown())?.[1];
    const isWell = () =>
      until(
        "all is well",
        async () => address() !== undefined && node.edge.status()[0]?.problems.length === 0,
      );

    test("95, 96: the lease stays over a restart of the agent, carries the fabric's session, and is given back with the link", async () => {
      lab.ours([64514]);
      node.follow(UNDERLAY);
      await isWell();
      await until("the fabric has the tunnel endpoint", async () =>
        lab.scratch.text("ip route show 100.65.0.1").includes("via 192.168.11.3"),
      );
      const before = shown();
      const running = daemon();
      node.stop();
      node.start();
      node.follow(UNDERLAY);
      await isWell();
      expect([shown(), daemon()]).toEqual([before, running]);
      expect(node.problems).toEqual([]);
      await until("it is written down", async () => leases().some((line) => line.includes(`${address()}`)));
      node.follow("");
      await until("the lease is over", async () => leases().every((line) => line.includes("expired")));
      await until("the link is gone", async () => shown() === "");
    });

    test("a daemon that ends is started anew and gets the lease again, and the link is not touched", async () => {
      node.follow(UNDERLAY);
      await isWell();
      const [before, running, index] = [shown(), daemon(), indexOf()];
      const acquired = () => daemonLog().split("lease acquired").length - 1;
      const asked = acquired();
      node.text("ip link set net1 alias kept", "cw-underlay");
      process.kill(running, "SIGKILL");
      await until("there is another daemon", async () => {
        try {
          return daemon() !== running;
        } catch {
          return false;
        }
      });
      // It would not know what to give back.
      await until("it has the lease", async () => acquired() > asked);
      await isWell();
      expect([shown(), indexOf()]).toEqual([before, index]);
      node.follow("");
      await until("the lease is over", async () => leases().every((line) => line.includes("expired")));
      expect(node.problems).toEqual([]);
    });

    const CHECKED =
      "what CHECK says of a lease breaks no link that has its address; one that has lost it is made again";
    test.each(["the agent's", "another"])(`${CHECKED} (%s daemon)`, async (whose) => {
      const answer = `echo "$stdin" | sed 's/.*"prevResult"://; s/}$//'`;
      const refuses = `[ "$CNI_COMMAND" = CHECK ] && [ -e ${node.folder}/away ] && { echo '{"code": 999, "msg": "no more tries"}'; exit 1; }`;
      writeFileSync(`${node.folder}/judge`, `#!/bin/sh\nstdin=$(cat)\n${refuses}\n${answer}\n`, {
        mode: 0o755,
      });
      const text = UNDERLAY.replace("]}", ',{"type":"judge"}]}');
      if (whose === "another") {
        Bun.spawn([`${PLUGINS}/dhcp`, "daemon", "-socketpath", anothers()], { stderr: "ignore" });
        await until("there is another daemon", async () => existsSync(anothers()));
      }
      const own = `"type":"dhcp","daemonSocketPath":"${anothers()}"`;
      node.follow(whose === "another" ? text.replace('"type":"dhcp"', own) : text);
      await isWell();
      const index = indexOf();
      writeFileSync(`${node.folder}/away`, "");
      node.text("ip address add 192.0.2.9/32 dev net1", "cw-underlay");
      const told = (text: string) =>
        until("it is told", async () => node.problems.some((one) => one.endsWith(text)));
      await told("plugin judge has refused CHECK: no more tries; it stays as it is");
      expect(indexOf()).toBe(index);
      node.text(`ip address del ${address()}/24 dev net1`, "cw-underlay");
      await told("; it is made again");
      rmSync(`${node.folder}/away`);
      await isWell();
      expect(indexOf()).not.toBe(index);
    });
  },
);
