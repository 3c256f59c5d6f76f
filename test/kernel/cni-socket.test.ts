/** What comes to cni.sock may be anything: the agent goes on, makes nothing of it, and keeps nothing open. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { CniNode } from "../support/cni-node.ts";
import { type Json, mutated } from "../support/json-mutation.ts";
import { newSeed, Random } from "../support/random.ts";
import { notRoot } from "../support/scratch.ts";

const seed = newSeed();
const random = new Random(seed);
const suffix = notRoot === undefined ? ` (SEED=${seed})` : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };

describe.skipIf(notRoot !== undefined)(`CNI: socket${suffix}`, () => {
  let node: CniNode;
  let path: string;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
    path = node.path("/run/causeway/cni.sock");
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const configuration: Json = {
    cniVersion: "1.1.0",
    name: "net",
    mtu: 1300,
    dns: { nameservers: ["10.0.0.1"] },
    ipam: { routes: [{ dst: "198.51.100.0/24" }] },
    runtimeConfig: {
      ips: ["10.244.1.9"],
      mac: "02:00:00:00:00:01",
      portMappings: [{ HostPort: 80, ContainerPort: 80 }],
    },
    prevResult: { interfaces: [{ name: "lo" }], ips: [{ address: "127.0.0.1/8" }], routes: [] },
    "cni.dev/valid-attachments": [{ containerID: "c", ifname: "eth0" }],
  };

  /** A question as the plugin writes it (src/cni/protocol.ts), with a configuration that is wrong somewhere. */
  function question(): string {
    const command = random.pick(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", ""]);
    const variables = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: "c",
      CNI_NETNS: "/run/netns/x",
      CNI_IFNAME: "eth0",
    };
    const text = Object.entries(variables).map(([name, value]) => `${name}=${value}\0`);
    return `${text.join("")}\0${JSON.stringify(mutated(configuration, random))}\n`;
  }

  /** Sends bytes and returns what came until the agent ended the connection; `end` closes our side at once. */
  function ask(bytes: Uint8Array, end = false): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    let said = "";
    let left = bytes;
    const send = (socket: Bun.Socket) => {
      left = left.subarray(Math.max(0, socket.write(left)));
      if (end && left.length === 0) socket.end();
    };
    void Bun.connect({
      unix: path,
      socket: {
        open: send,
        drain: send,
        data: (_socket, chunk) => void (said += chunk.toString()),
        close: () => resolve(said),
        error: () => resolve(said),
        connectError: (_socket, error) => resolve(`no connection: ${error.message}`),
      },
    });
    return promise;
  }

  async function inGroups(count: number, work: () => Promise<string>): Promise<string[]> {
    const answers: string[] = [];
    while (answers.length < count) answers.push(...(await Promise.all(Array.from({ length: 50 }, work))));
    return answers;
  }

  const bytes = (text: string) => new TextEncoder().encode(text);
  const descriptors = () => readdirSync(`/proc/${node.agentPid}/fd`).length;

  async function wellAndEmpty(): Promise<void> {
    expect((await node.call("STATUS", { configuration: { cniVersion: "1.1.0" } })).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
  }

  test("P4: a question that is wrong anywhere gets an answer with a code, or does what it says", async () => {
    const before = descriptors();
    const answers = await inGroups(1500, () => ask(bytes(question())));
    for (const answer of answers) {
      expect(answer).toMatch(/^[01](?:\{.*\})?\n$/);
      if (answer.startsWith("0") || answer.length === 2) continue;
      expect(JSON.parse(answer.slice(1))).toMatchObject({
        cniVersion: expect.any(String),
        code: expect.any(Number),
      });
      expect(answer).not.toMatch(/undefined is not|is not a function|Maximum call stack/);
    }
    // Nobody passed a namespace, so no ADD can have succeeded.
    await wellAndEmpty();
    expect(descriptors()).toBeLessThanOrEqual(before + 1);
  });

  test("P8: bytes that are no question end their connection and nothing else", async () => {
    const before = descriptors();
    const rubbish = () => {
      const honest = bytes(question());
      return random.chance(0.7) ? random.mutate(honest) : random.bytes(random.below(3000));
    };
    const line = () => new Uint8Array([...rubbish(), 10]);
    await inGroups(1000, () => (random.chance(0.5) ? ask(line()) : ask(rubbish(), true)));
    await wellAndEmpty();
    expect(descriptors()).toBeLessThanOrEqual(before + 1);
  });

  test("P8: those who connect and say nothing, or never end, keep nobody from being served", async () => {
    const idle = await Promise.all(
      Array.from({ length: 200 }, () => Bun.connect({ unix: path, socket: { data: () => {} } })),
    );
    for (const socket of idle.slice(0, 100)) socket.write("CNI_COMMAND=ADD\0");
    await node.add("served");
    expect((await node.call("DEL", { containerId: "served" })).status).toBe(0);
    for (const socket of idle) socket.terminate();
    expect(await ask(new Uint8Array(5 * 2 ** 20).fill(65))).toBe("");
    await wellAndEmpty();
  });
});
