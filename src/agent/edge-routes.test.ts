import { expect, test } from "bun:test";
import type { Speaker } from "../bgp/mod.ts";
import type { RemoteChange } from "../domain/mod.ts";
import { formatPrefix, parsePrefix, type Prefix } from "../net/mod.ts";
import { EdgeRoutes, type EdgeSpeaker } from "./edge-routes.ts";

const NET = parsePrefix("10.9.0.0/16");

/** Both speakers of a domain, as far as routes go to them, with what each was told last. */
function speakers() {
  const said: string[] = [];
  const say = (text: string, prefix: Prefix) => void said.push(`${text} ${formatPrefix(prefix)}`);
  let hears: Parameters<EdgeSpeaker["routes"]>[0] = () => {};
  const host = {
    announce: ({ prefix }: { prefix: Prefix }) => say("host has", prefix),
    withdraw: ({ prefix }: { prefix: Prefix }) => say("host loses", prefix),
  };
  const evpn = {
    setPrefix: (_: number, { prefix }: { prefix: Prefix }) => say("fabric has", prefix),
    removePrefix: (_: number, prefix: Prefix) => say("fabric loses", prefix),
  };
  const begun = {
    speaker: host,
    routes: (listener: typeof hears) => {
      hears = listener;
      return { [Symbol.dispose]() {} };
    },
  };
  return {
    ...{ fabric: { evpn } as unknown as Speaker, begun: begun as unknown as EdgeSpeaker },
    take: () => said.splice(0),
    fromHost: (prefix: Prefix) => hears({ prefix, asPath: [] }),
  };
}
const told = (op: RemoteChange["op"]): RemoteChange => ({
  op,
  remote: { kind: "prefix", vni: 5100, prefix: NET, hops: [] },
});

test("what a host has is told to the fabric once, and again when something about it is other than before", () => {
  const { fabric, begun, take, fromHost } = speakers();
  using routes = new EdgeRoutes(5100);
  routes.setFabric(fabric, { declared: [] });
  routes.setHost(begun);
  fromHost(NET);
  expect(take()).toEqual(["fabric has 10.9.0.0/16"]);
  routes.setFabric(fabric, { declared: [] });
  expect(take()).toEqual([]);
  routes.setFabric(fabric, { declared: [parsePrefix("10.1.0.0/16")] });
  expect(take()).toEqual(["fabric has 10.9.0.0/16"]);
  routes.setFabric(fabric, { declared: [], exports: () => undefined });
  expect(take()).toEqual(["fabric loses 10.9.0.0/16"]);
  const another = { ...fabric } as Speaker;
  routes.setFabric(another, { declared: [] });
  expect(take()).toEqual(["fabric has 10.9.0.0/16"]);
});

test("a network that a domain has by a leak stays its host's when the fabric had it for a moment", () => {
  const { begun, take } = speakers();
  using routes = new EdgeRoutes(5100);
  routes.setHost(begun);
  routes.setLeaked([NET]);
  expect(take()).toEqual(["host has 10.9.0.0/16"]);
  routes.hear([told("set"), told("remove")]);
  routes.setLeaked([NET]);
  expect(take().at(-1)).toBe("host has 10.9.0.0/16");
  routes.setLeaked([]);
  expect(take()).toEqual(["host loses 10.9.0.0/16"]);
});
