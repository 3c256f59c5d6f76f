/**
 * Passwords of the edge's sessions: from a file, and from a Secret of Kubernetes. Each session has its own, waits for it alone, and is the only
 * one that begins anew when it changes.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { md5Problem } from "../../src/sys/tcp-md5.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { KubeApi } from "../support/kube-api.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(90_000);

const lacks = notRoot ?? md5Problem();
const [FIRST, SECOND, THIRD] = ["s3cret-of-the-rack", "an0ther-of-the-rack", "th1rd-of-the-host"];

const underlay = (more: string) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: eth1}]
  neighbors:
  - {address: 192.168.11.2, asn: 64512, connectRetry: 1s}
  - {address: 192.168.11.4, asn: 64513, connectRetry: 1s, password: {secret: {namespace: net, name: tor}}}
  tunnelEndpoint: {prefixes: [100.65.0.1/32]}
  hostSessions: [{name: plain, asn: 64514, peerAsn: 64515, prefixes: [192.169.9.0/24], connectRetry: 1s${more}}]
`;

describe.skipIf(lacks !== undefined)(
  `passwords of an edge${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    let lab: EdgeLab;
    let node: EdgeNode;
    let api: KubeApi;
    let ca: string;
    let text: string;
    const file = () => `${node.folder}/host.password`;
    const tor = () => `${lab.scratch.folder}-tor.password`;
    const kept = () => `${node.folder}/passwords/net,tor,password`;
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a"] });
      node = lab.node("a");
      api = new KubeApi();
      ca = await api.ca;
      node.access = () => ({ server: api.url, tls: { ca }, token: () => api.token });
      lab.scratch.text("ip address add 192.168.11.4/24 dev to-a");
      writeFileSync(tor(), FIRST, { mode: 0o600 });
      text = underlay(`, password: {file: ${file()}}`);
      node.start();
      node.follow(text);
      const families = { "ipv4-unicast": {}, "l2vpn-evpn": {} };
      const edge = { address: "192.168.11.3", asn: 64514, connectRetry: "1s", families };
      const spec = (asn: number, ip: string, password?: string) => ({
        ...{ asn, routerId: ip, listen: [`${ip}:179`], install: false },
        neighbors: [{ ...edge, source: ip, ...(password === undefined ? {} : { passwordFile: password }) }],
      });
      lab.speaker("one", lab.scratch.netns, spec(64512, "192.168.11.2"));
      lab.speaker("two", lab.scratch.netns, spec(64513, "192.168.11.4", tor()));
    });
    afterAll(async () => {
      if (lab !== undefined) rmSync(tor(), { force: true });
      await lab?.[Symbol.asyncDispose]();
      api?.[Symbol.dispose]();
    });

    const ups = (address: string) =>
      node.logged.filter((line) => line.startsWith("bgp session is up") && line.includes(`"${address}"`))
        .length;
    const isUp = (address: string, times: number) =>
      until(`the session with ${address} is up for the ${times}. time`, async () => ups(address) >= times);
    const problems = () => node.edge.status()[0]?.problems ?? [];
    const told = (what: string) =>
      until(`"${what}" is told`, async () => problems().some((one) => one.includes(what)));

    test("what is missing is the state of the sessions that need it, and of no other", async () => {
      await isUp("192.168.11.2", 1);
      await told("neighbor 192.168.11.4 waits: Secret net/tor is not known: ");
      await told("causeway kube rights");
      expect(problems()).toContain(
        `host session waits: there is no password file ${file()}; make it, with mode 0600`,
      );
      api.readable.add("net/tor");
      await told("neighbor 192.168.11.4 waits: there is no Secret net/tor; make it");
      api.putSecret("net/tor", { pass: FIRST });
      await told("neighbor 192.168.11.4 waits: Secret net/tor has no key password; it has pass");
    });

    test("the session begins when its Secret is there", async () => {
      api.putSecret("net/tor", { password: `${FIRST}\n` });
      await isUp("192.168.11.4", 1);
      expect(statSync(kept()).mode & 0o777).toBe(0o600);
      expect(ups("192.168.11.2")).toBe(1);
    });

    test("another password: that session alone begins anew, with it", async () => {
      api.putSecret("net/tor", { password: SECOND });
      await until("it is kept", async () => readFileSync(kept(), "utf8") === `${SECOND}\n`);
      await until("the session went down", async () =>
        node.logged.some((line) => line.startsWith("bgp session is down") && line.includes("192.168.11.4")),
      );
      writeFileSync(tor(), SECOND);
      await isUp("192.168.11.4", 2);
      expect(ups("192.168.11.2")).toBe(1);
    });

    test("a file that others may read is refused; put right, it is used, and one that goes is told of while the session stays", async () => {
      writeFileSync(file(), THIRD);
      chmodSync(file(), 0o644);
      await told(
        `host session waits: password file ${file()} can be read by others; run: chmod 600 ${file()}`,
      );
      chmodSync(file(), 0o600);
      const { asn, ...rest } = { asn: 64515, routerId: "10.0.2.1" };
      const families = { "ipv4-unicast": {} };
      const neighbors = [
        { address: "192.169.9.1", asn: 64514, connectRetry: "1s", families, passwordFile: file() },
      ];
      lab.speaker("services", node.netns, { asn, ...rest, neighbors });
      await isUp("192.169.9.2", 1);
      expect(ups("192.168.11.2")).toBe(1);
    });

    test("a Secret that goes changes nothing but what is told, also for an agent that begins without the cluster", async () => {
      api.remove("net/tor", "secrets");
      await told(
        "neighbor 192.168.11.4 goes on with the password that it had: there is no Secret net/tor; make it",
      );
      expect(ups("192.168.11.4")).toBe(2);
      node.stop();
      api.broken = 503;
      node.start();
      node.follow(text);
      await isUp("192.168.11.4", 3);
      expect(problems()).toEqual([]);
    });

    test("no password is told or written anywhere else, and none stays where no session needs it", async () => {
      const everything = JSON.stringify([node.logged, node.problems, node.edge.status(), api.asked]);
      const files = readdirSync(node.folder, { recursive: true, encoding: "utf8" })
        .map((name) => `${node.folder}/${name}`)
        .filter(
          (path) =>
            path !== kept() && path !== file() && statSync(path).isFile() && !path.includes("/netns/"),
        );
      const all = everything + files.map((path) => readFileSync(path, "latin1")).join();
      for (const password of [FIRST, SECOND, THIRD]) {
        expect(all.includes(password)).toBe(false);
        expect(all.includes(btoa(password))).toBe(false);
      }
      node.follow("");
      expect(existsSync(kept())).toBe(false);
    });
  },
);
