import { expect, test } from "bun:test";
import { encodeProbe, LEAST_PROBE_BYTES, openProbe, type Ping, probeKey, shortId } from "../mesh/mod.ts";
import { parseEndpoint, PrivateKey } from "../net/mod.ts";
import type { ProbeOptions, ProbePort, Tunnel } from "../tunnel/mod.ts";
import { Prober } from "./prober.ts";

test("when another process carries the tunnel, the port is opened anew at once, and there is one at a time", () => {
  const open = new Set<ProbePort>();
  let opened = 0;
  const tunnel = {
    probes(): ProbePort {
      opened++;
      const port: ProbePort = {
        refused: 0,
        send: () => "sent",
        [Symbol.dispose]: () => void open.delete(port),
      };
      open.add(port);
      return port;
    },
  } as unknown as Tunnel;
  const prober = new Prober({ own: PrivateKey.random(), former: () => undefined }, () => {});
  // Nothing to share a port with yet.
  prober.reopen();
  expect(opened).toBe(0);
  prober.listen(tunnel, 51820);
  prober.listen(tunnel, 51820);
  expect([opened, open.size]).toEqual([1, 1]);
  prober.reopen();
  expect([opened, open.size]).toEqual([2, 1]);
  prober[Symbol.dispose]();
  prober.reopen();
  expect([opened, open.size]).toEqual([2, 0]);
});

test("a former key that is dropped opens no probe any more, and nothing is sent under it", () => {
  const [own, before, node] = [PrivateKey.random(), PrivateKey.random(), PrivateKey.random()];
  let former: PrivateKey | undefined = before;
  let arrive: ProbeOptions["onDatagram"] = () => {};
  const sent: Uint8Array[] = [];
  const tunnel = {
    probes({ onDatagram }: ProbeOptions): ProbePort {
      arrive = onDatagram;
      const send = (_: unknown, bytes: Uint8Array) => (sent.push(bytes), "sent" as const);
      return { refused: 0, send, [Symbol.dispose]() {} };
    },
  } as unknown as Tunnel;
  const from = parseEndpoint("192.0.2.1:5");
  const ping: Ping = { kind: "ping", transaction: 1n, chosen: false, sizeBytes: LEAST_PROBE_BYTES };
  let opened = 0;
  using prober = new Prober({ own, former: () => former }, () => void opened++);
  const ask = (of: PrivateKey) => {
    const bytes = encodeProbe(ping, {
      key: probeKey(node, of.publicKey),
      sender: shortId(node.publicKey),
    });
    arrive({ from, local: undefined, bytes, datagramBytes: LEAST_PROBE_BYTES });
    return opened;
  };
  /** Which of our keys the node finds in what it is told. */
  const saidBy = () => {
    prober.send("node", ping, { to: from });
    const bytes = sent.at(-1) as Uint8Array;
    return [own, before].filter(
      (one) =>
        openProbe(bytes, { key: probeKey(node, one.publicKey), datagramBytes: LEAST_PROBE_BYTES }) !==
        undefined,
    );
  };
  const nodes = [{ name: "node", publicKey: node.publicKey }];
  prober.setNodes(nodes, own.publicKey);
  prober.listen(tunnel, 51820);
  expect([ask(before), prober.forged]).toEqual([1, 0]);
  expect(saidBy()).toEqual([before]);
  former = undefined;
  prober.setNodes(nodes, own.publicKey);
  expect(saidBy()).toEqual([own]);
  expect([ask(before), prober.forged]).toEqual([1, 1]);
  expect([ask(own), prober.forged]).toEqual([2, 1]);
});
