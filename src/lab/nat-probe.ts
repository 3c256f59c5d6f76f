/** What kind of NAT stands in the way, found out with packets alone (the method of RFC 5780, with two observers). */
import { type Endpoint, endpointEqual, formatIp, type Ip, parseIp } from "../net/mod.ts";
import { type Datagram, type Netns, openUdp, sleep } from "../sys/mod.ts";

/** NatBehaviour is what the probe found, in the terms of RFC 4787. */
export interface NatBehaviour {
  readonly mapping: "endpoint-independent" | "endpoint-dependent";
  /** Who may send to the mapping: everybody, only addresses that were sent to, or only their very port. */
  readonly filtering: "endpoint-independent" | "address-dependent" | "address-and-port-dependent";
  /** How each observer saw the probe. */
  readonly seen: readonly [Endpoint, Endpoint];
}

/** Observer is a machine on the other side. */
export interface Observer {
  readonly netns: Netns;
  readonly ip: Ip;
}

/** A packet that is lost is sent again; one that is filtered never comes. */
const TRIES = 8;
const PAUSE_MS = 40;

/** probeNat sends from `port` of a machine inside to two observers, who answer from where they should and should not. */
export async function probeNat(options: {
  readonly inside: Netns;
  readonly port: number;
  readonly observers: readonly [Observer, Observer];
}): Promise<NatBehaviour> {
  const [a, b] = options.observers;
  const heard = new Set<string>();
  const text = (datagram: Datagram) => Buffer.from(datagram.data).toString();
  using probe = await openUdp({
    netns: options.inside,
    port: options.port,
    onDatagram: (datagram) => heard.add(text(datagram)),
  });
  const observed: (Endpoint | undefined)[] = [undefined, undefined];
  const observe = (observer: Observer, index: number) =>
    openUdp({
      netns: observer.netns,
      onDatagram: ({ host, port }) => {
        observed[index] = { ip: parseIp(host), port };
      },
    });
  using first = await observe(a, 0);
  using second = await observe(b, 1);
  using otherPort = await openUdp({ netns: a.netns });
  const repeat = async (send: () => void, done: () => boolean) => {
    for (let attempt = 0; attempt < TRIES && !done(); attempt++) {
      send();
      await sleep(PAUSE_MS);
    }
  };
  await repeat(
    () => probe.send("probe", formatIp(a.ip), first.port),
    () => observed[0] !== undefined,
  );
  const seenByA = observed[0];
  if (seenByA === undefined) throw new Error(`Cannot probe the NAT: nothing reached ${formatIp(a.ip)}`);
  const reach = async (name: string, socket: typeof first) => {
    await repeat(
      () => socket.send(name, formatIp(seenByA.ip), seenByA.port),
      () => heard.has(name),
    );
    return heard.has(name);
  };
  // Before the probe has ever sent to B: what comes from there is unasked.
  const stranger = await reach("stranger", second);
  const neighbour = await reach("other port", otherPort);
  if (!(await reach("answer", first)))
    throw new Error("Cannot probe the NAT: not even an answer came back; is the link lossy?");
  await repeat(
    () => probe.send("probe", formatIp(b.ip), second.port),
    () => observed[1] !== undefined,
  );
  const seenByB = observed[1];
  if (seenByB === undefined) throw new Error(`Cannot probe the NAT: nothing reached ${formatIp(b.ip)}`);
  return {
    mapping: endpointEqual(seenByA, seenByB) ? "endpoint-independent" : "endpoint-dependent",
    filtering: stranger
      ? "endpoint-independent"
      : neighbour
        ? "address-dependent"
        : "address-and-port-dependent",
    seen: [seenByA, seenByB],
  };
}
