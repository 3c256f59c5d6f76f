/** `causeway bgp`: what BGP routers do, and routers of a file. */
import type { BgpRequest, MonitorEvent, NeighborStatus, RouterStatus, RouteStatus } from "../bgp/mod.ts";
import { PrometheusText } from "../wire/mod.ts";
import { askBgp, BGP_SOCKET } from "./bgp-client.ts";
import { bgpRun, formatEvent } from "./bgp-run.ts";
import { type Command, type Given, type Option, UsageError, withJson } from "./command.ts";
import { printJson, printText, readFile } from "./output.ts";
import { ago, facts, table } from "./table.ts";

const families = ["ipv4-unicast", "ipv6-unicast", "l2vpn-evpn", "route-target"] as const;

const socket: Option = { about: `another process's socket; default ${BGP_SOCKET}`, value: "PATH" };
const from = (given: Given) => given.value("socket") ?? BGP_SOCKET;

function routers(given: Given): RouterStatus[] {
  return routersAt(from(given));
}

/** routersAt returns the routers of a process. */
export function routersAt(path: string): RouterStatus[] {
  return [...askBgp(path, { op: "summary" })].map(({ router }) => router as RouterStatus);
}

function stateOf(neighbor: NeighborStatus): string {
  if (neighbor.state !== "established") return neighbor.state;
  return neighbor.families.map(({ family, received, sent }) => `${family} ${received}/${sent}`).join(", ");
}

const summary: Command = {
  name: "summary",
  about: "Show routers and the state of their neighbors",
  more: "ROUTES has received/sent of each family of an established session.",
  options: withJson({ socket }),
  examples: ["causeway bgp summary", "causeway bgp summary --json"],
  async run(given) {
    const all = routers(given);
    if (given.flag("json")) return printJson(all);
    if (all.length === 0) printText("no BgpRouter\n");
    for (const router of all) {
      const counts = router.families
        .filter(({ paths }) => paths > 0)
        .map(({ family, destinations, paths }) => `${family} ${destinations} routes, ${paths} paths`);
      printText(
        facts([
          ["router", `${router.router}, AS ${router.asn}, ${router.routerId}`],
          ["tables", counts.join("; ") || "empty"],
          [
            "waits",
            router.deferred.length === 0
              ? undefined
              : `for neighbors after a restart: ${router.deferred.join(", ")}`,
          ],
        ]),
      );
      printText(
        table(
          ["NEIGHBOR", "AS", "SINCE", "IN", "OUT", "ROUTES"],
          router.neighbors.map((neighbor) => [
            neighbor.name,
            neighbor.asn === undefined ? "" : String(neighbor.asn),
            ago(neighbor.sinceSeconds),
            String(neighbor.messagesReceived),
            String(neighbor.messagesSent),
            stateOf(neighbor),
          ]),
        ),
      );
    }
    return 0;
  },
};

/** What the neighbor says of itself goes to a terminal. */
function plain(text: string | undefined): string | undefined {
  return text?.replaceAll(/\p{C}/gu, "\u{fffd}");
}

function neighborText(neighbor: NeighborStatus): string {
  return (
    facts([
      ["neighbor", neighbor.name],
      ["description", neighbor.description],
      ["state", `${neighbor.state}, for ${ago(neighbor.sinceSeconds)}`],
      ["AS", neighbor.asn === undefined ? undefined : String(neighbor.asn)],
      ["address", neighbor.address],
      ["our address", neighbor.localAddress],
      ["router id", neighbor.routerId],
      ["host", plain(neighbor.hostname)],
      ["software", plain(neighbor.software)],
      [
        "timers",
        neighbor.holdSeconds === undefined
          ? undefined
          : `hold ${neighbor.holdSeconds} s, keepalive ${Math.round(neighbor.keepaliveSeconds ?? 0)} s`,
      ],
      ["established", `${neighbor.established} times`],
      ["messages", `${neighbor.messagesReceived} received, ${neighbor.messagesSent} sent`],
      ["last end", plain(neighbor.lastError)],
      ...neighbor.capabilities.map((text, i): [string, string | undefined] => [
        i === 0 ? "capabilities" : "",
        plain(text),
      ]),
    ]) +
    table(
      ["FAMILY", "RECEIVED", "ACCEPTED", "BEST", "SENT", ""],
      neighbor.families.map((one) => [
        one.family,
        String(one.received),
        String(one.accepted),
        String(one.best),
        String(one.sent),
        one.stale ? "stale" : "",
      ]),
    )
  );
}

const neighbors: Command = {
  name: "neighbors",
  about: "Show all neighbors, whole",
  options: withJson({ socket }),
  examples: ["causeway bgp neighbors --json"],
  async run(given) {
    const all = routers(given).flatMap((router) => router.neighbors);
    if (given.flag("json")) return printJson(all);
    printText(all.map(neighborText).join("\n") || "no neighbor\n");
    return 0;
  },
};

const neighbor: Command = {
  name: "neighbor",
  about: "Show one neighbor, or tell its session something",
  more: `Neighbors are named by address, address%link, or the link of an unnumbered one.
refresh asks it for its routes again (RFC 2918); reset ends the session, which
then begins anew.`,
  positionals: ["NAME", "[refresh|reset]"],
  options: withJson({ socket }),
  examples: ["causeway bgp neighbor 192.0.2.1", "causeway bgp neighbor eth1 refresh"],
  async run(given) {
    const [name = "", verb] = given.positionals;
    if (verb === "refresh" || verb === "reset") {
      for (const _ of askBgp(from(given), { op: verb, neighbor: name }));
      return given.flag("json") ? printJson({ neighbor: name, done: verb }) : 0;
    }
    if (verb !== undefined)
      throw new UsageError("causeway bgp neighbor", `"${verb}" is not one of refresh, reset`);
    const all = routers(given).flatMap((router) => router.neighbors);
    const found = all.filter((one) => one.name === name);
    if (found.length === 0)
      throw new Error(
        `There is no neighbor ${name}; there are ${all.map((one) => one.name).join(", ") || "none"}`,
      );
    if (given.flag("json")) return printJson(found);
    printText(found.map(neighborText).join("\n"));
    return 0;
  },
};

const filters: Readonly<Record<string, Option>> = {
  neighbor: { about: "only what came from this neighbor", value: "NAME" },
  sent: { about: "with --neighbor: what was sent to it" },
  best: { about: "only best paths" },
  community: { about: "only with this community of any kind, such as RT:65000:100", value: "TEXT" },
  limit: { about: "at most so many", value: "N" },
  socket,
};

type Filter = Extract<BgpRequest, { op: "routes" }>["filter"];

function routeFilter(given: Given, more: Filter): Extract<BgpRequest, { op: "routes" }> {
  const [neighborName, community, limit] = [
    given.value("neighbor"),
    given.value("community"),
    given.number("limit"),
  ];
  if (given.flag("sent") && neighborName === undefined)
    throw new UsageError("causeway bgp", "--sent needs --neighbor NAME");
  return {
    op: "routes",
    filter: {
      ...more,
      ...(neighborName === undefined ? {} : { neighbor: neighborName }),
      ...(community === undefined ? {} : { community }),
      ...(given.flag("sent") ? { sent: true } : {}),
      ...(given.flag("best") ? { best: true } : {}),
    },
    ...(limit === undefined ? {} : { limit }),
  };
}

/** `*` a best path, `=` one that is used beside it, `s` stale, `x` not accepted. */
function marks(route: RouteStatus): string {
  return `${route.best ? "*" : route.multipath ? "=" : " "}${route.stale ? "s" : ""}${route.accepted ? "" : "x"}`;
}

function showRoutes(given: Given, request: BgpRequest): number {
  const routes = [...askBgp(from(given), request)].map(({ route }) => route as RouteStatus);
  if (given.flag("json")) return printJson(routes);
  printText(
    table(
      ["", "ROUTE", "NEXT HOP", "FROM", "PREF", "MED", "PATH", "MORE"],
      routes.map((route) => [
        marks(route),
        route.rd === undefined ? route.route : `${route.rd} ${route.route}`,
        route.nextHop ?? "",
        route.neighbor,
        route.localPreference === undefined ? "" : String(route.localPreference),
        route.med === undefined ? "" : String(route.med),
        `${route.asPath} ${route.origin === "igp" ? "i" : route.origin === "egp" ? "e" : "?"}`.trim(),
        [
          ...route.labels.map((label) => `vni ${label}`),
          ...(route.ways === undefined ? [] : [`${route.ways.mode} ${route.ways.vteps.join(",")}`]),
          ...route.communities,
        ].join(" "),
      ]),
    ),
  );
  return 0;
}

const routes: Command = {
  name: "routes",
  about: "Show routes: all, of a prefix, or what an address would take",
  more: `A prefix is looked for as it stands, with --longer also all inside it; an
address by its longest match. In front: * best path, = used beside it, s stale
(its session has ended), x not accepted by policy.`,
  positionals: ["[PREFIX|ADDRESS]"],
  options: withJson({
    family: { about: "only of this family", value: "FAMILY", choices: families },
    longer: { about: "with a prefix: also those inside it" },
    ...filters,
  }),
  examples: [
    "causeway bgp routes",
    "causeway bgp routes 10.0.0.0/8 --longer",
    "causeway bgp routes 10.1.2.3 --json",
    "causeway bgp routes --neighbor 192.0.2.1 --sent",
  ],
  async run(given) {
    const [prefix] = given.positionals;
    const family = given.value("family");
    const request = routeFilter(given, {
      ...(prefix === undefined ? {} : { prefix }),
      ...(family === undefined ? {} : { family }),
      ...(given.flag("longer") ? { longer: true } : {}),
    });
    return showRoutes(given, request);
  },
};

const evpn: Command = {
  name: "evpn",
  about: "Show EVPN routes",
  options: withJson({
    type: { about: "1 to 5", value: "N" },
    rd: { about: "only of this route distinguisher", value: "RD" },
    mac: { about: "only of this MAC address", value: "MAC" },
    vni: { about: "only with this VNI as label", value: "N" },
    ...filters,
  }),
  examples: ["causeway bgp evpn --type 2 --vni 100", "causeway bgp evpn --mac 02:aa:00:00:00:05 --json"],
  async run(given) {
    const [type, vni] = [given.number("type"), given.number("vni")];
    const [rd, mac] = [given.value("rd"), given.value("mac")];
    const request = routeFilter(given, {
      family: "l2vpn-evpn",
      ...(type === undefined ? {} : { evpnType: type }),
      ...(vni === undefined ? {} : { vni }),
      ...(rd === undefined ? {} : { rd }),
      ...(mac === undefined ? {} : { mac }),
    });
    return showRoutes(given, request);
  },
};

const monitor: Command = {
  name: "monitor",
  about: "Show sessions and best routes as they change, until Ctrl-C",
  more: "+ a route is new or has changed, - it is gone, ! something else happened.",
  options: withJson({ socket }),
  examples: ["causeway bgp monitor", "causeway bgp monitor --json"],
  async run(given) {
    for (const { event } of askBgp(from(given), { op: "monitor" }))
      printText(given.flag("json") ? `${JSON.stringify(event)}\n` : formatEvent(event as MonitorEvent));
    return 0;
  },
};

const replay: Command = {
  name: "replay",
  about: "Run a recording of a session again, and show what it did",
  more: "Recordings are made by causeway bgp run --record DIR. Passwords are not in them.",
  positionals: ["FILE"],
  options: withJson(),
  examples: ["causeway bgp replay recordings/fabric-192.0.2.1.jsonl"],
  async run(given) {
    const { printUpdate, RecordingError, replay: again } = await import("../bgp/mod.ts");
    const path = given.positionals[0] as string;
    try {
      const lines = again(readFile(path), { printUpdate });
      if (given.flag("json")) return printJson(lines);
      printText(lines.map((line) => `${line}\n`).join(""));
      return 0;
    } catch (error) {
      if (error instanceof RecordingError) throw new Error(`${path} cannot be replayed: ${error.message}`);
      throw error;
    }
  },
};

/** bgpMetrics returns counts of routers as Prometheus reads them. */
export function bgpMetrics(all: readonly RouterStatus[]): string {
  const text = new PrometheusText("causeway_bgp_");
  const put: PrometheusText["put"] = (...line) => text.put(...line);
  for (const status of all) {
    const { router, families: tables, attributeSets, neighbors: list } = status;
    const { queuedBytes, convergence, evpnTypes: types } = status;
    put("attribute_sets", { router }, attributeSets);
    put("queued_bytes", { router }, queuedBytes);
    put("convergence_seconds_count", { router }, convergence.count);
    put("convergence_seconds_sum", { router }, convergence.sumMs / 1000);
    put("convergence_seconds_last", { router }, convergence.lastMs / 1000);
    put("convergence_seconds_longest", { router }, convergence.longestMs / 1000);
    for (const [type, count] of Object.entries(types)) put("evpn_destinations", { router, type }, count);
    for (const { family, destinations, paths } of tables) {
      put("destinations", { router, family }, destinations);
      put("paths", { router, family }, paths);
    }
    for (const one of list) {
      const labels = { router, neighbor: one.name };
      put("session_up", labels, one.state === "established" ? 1 : 0);
      put("session_state_seconds", labels, one.sinceSeconds);
      put("session_established_total", labels, one.established);
      put("session_flaps_total", labels, one.flaps);
      put("updates_received", labels, one.updatesReceived);
      put("updates_sent", labels, one.updatesSent);
      put("messages_received", labels, one.messagesReceived);
      put("messages_sent", labels, one.messagesSent);
      for (const { family, received, accepted, best, sent } of one.families) {
        put("routes_received", { ...labels, family }, received);
        put("routes_accepted", { ...labels, family }, accepted);
        put("routes_best", { ...labels, family }, best);
        put("routes_sent", { ...labels, family }, sent);
      }
    }
  }
  return text.text();
}

const metrics: Command = {
  name: "metrics",
  about: "Print counts of sessions and routes, as Prometheus reads them",
  more: "For the textfile collector of node_exporter, or what else runs programs.",
  options: { socket },
  examples: ["causeway bgp metrics > /var/lib/prometheus/node-exporter/bgp.prom"],
  async run(given) {
    printText(bgpMetrics(routers(given)));
    return 0;
  },
};

/** bgp is the command. */
export const bgp: Command = {
  name: "bgp",
  about: "Routes by BGP: neighbors, routes, EVPN, and a router of its own",
  commands: [summary, neighbors, neighbor, routes, evpn, monitor, metrics, bgpRun, replay],
};
