/** `causeway top`: a site gateway live, and how it went. */
import { type Counted, type Rates, spans, type Top } from "../gatewayd/mod.ts";
import { onSignal, sleep } from "../sys/mod.ts";
import { type Command, type Given, withJson } from "./command.ts";
import { folderOption, GatewayClient } from "./gateway-client.ts";
import { printJson, printText } from "./output.ts";
import { ago, bytes, table } from "./table.ts";

const REFRESH_MS = 2_000;
const SHOWN_STEPS = 30;
const MOST_STEPS = 3600;
/** Home, then clear what is below (ECMA-48). */
const CLEAR = "\u001b[H\u001b[J";

/** What several looks have in common, so that rates can be told. */
type Carried = { readonly [name in "rxpackets" | "rxbytes" | "txpackets" | "txbytes"]: number };

function rate(now: Carried, before: Carried | undefined, seconds: number): string[] {
  const since = (name: keyof Carried) => Math.max(0, now[name] - (before?.[name] ?? now[name])) / seconds;
  const side = (packets: number, octets: number) => [`${Math.round(packets)}/s`, `${bytes(octets)}/s`];
  return [...side(since("rxpackets"), since("rxbytes")), ...side(since("txpackets"), since("txbytes"))];
}

const RATES = ["IN", "", "OUT", ""];
const plain = (text: string) => text.replaceAll(/\p{C}/gu, "?");

function queueRow(queue: Top["queues"][number], before: Top["queues"][number] | undefined, seconds: number) {
  const { cpu, up, about } = queue;
  return [
    `${queue.queue}`,
    cpu === undefined ? "" : `${cpu}`,
    up ? "up" : "down",
    ...rate(queue, before, seconds),
    dropped(queue),
    plain(about),
  ];
}

/** How many, as far as they are counted: `9 in` where what leaves nowhere is not. */
function dropped({ rxdrop, txdrop }: Pick<Counted, "rxdrop" | "txdrop">): string {
  if (rxdrop === undefined) return "";
  return txdrop === undefined ? `${rxdrop} in` : `${rxdrop + txdrop}`;
}

/** How many, and why: `14: 9 replay, 5 unready`. */
function dropsOf(route: Top["routes"][number]): string {
  const reasons = Object.entries(route.drops).map(([reason, count]) => `${count} ${reason}`);
  return [dropped(route), ...(reasons.length > 0 ? [reasons.join(", ")] : [])].join(": ");
}

function routeRow(route: Top["routes"][number], before: Top["routes"][number] | undefined, seconds: number) {
  const { id, up, gateway = "", roundTripMicroseconds: trip, reason, lastError } = route;
  return [
    id,
    up ? "up" : "down",
    gateway,
    trip === undefined ? "" : `${(trip / 1000).toFixed(1)} ms`,
    `${route.rekeys}`,
    ...rate(route, before, seconds),
    dropsOf(route),
    plain(reason ?? (lastError === undefined ? "" : `last: ${lastError}`)),
  ];
}

function associationRow(one: Top["associations"][number]) {
  const { direction, queue, spi, route = "", algorithm = "", use = "", ageSeconds, secondsLeft } = one;
  return [
    direction === "inbound" ? "in" : "out",
    `${queue}`,
    `${spi}`,
    route,
    algorithm,
    use,
    `${one.packets}`,
    bytes(one.bytes),
    `${one.errors}`,
    ageSeconds === undefined ? "" : ago(ageSeconds),
    secondsLeft === undefined ? "" : ago(secondsLeft),
  ];
}

function sidesTable(now: Top, before: Top | undefined, seconds: number): string {
  return table(
    ["SIDE", ...RATES, "DROPS"],
    now.interfaces.map((side) => [
      side.side,
      ...rate(
        side,
        before?.interfaces.find((one) => one.side === side.side),
        seconds,
      ),
      dropped(side),
    ]),
  );
}

/** topText returns a look for people; `before` is the one before it, so many seconds ago. */
export function topText(now: Top, before: Top | undefined, seconds: number): string {
  const same = <T>(list: readonly T[] | undefined, is: (one: T) => boolean) => list?.find(is);
  return [
    `gateway ${now.gateway}: configured by ${plain(now.configuration.source)}\n`,
    ...now.configuration.problems.map((problem) => `${plain(problem)}\n`),
    "\n",
    ...(now.interfaces.length === 0 ? [] : [sidesTable(now, before, seconds), "\n"]),
    table(
      ["QUEUE", "CPU", "STATE", ...RATES, "DROPS", "ABOUT"],
      now.queues.map((queue) =>
        queueRow(
          queue,
          same(before?.queues, (one) => one.queue === queue.queue),
          seconds,
        ),
      ),
    ),
    "\n",
    table(
      ["ROUTE", "STATE", "GATEWAY", "TRIP", "KEYS", ...RATES, "DROPS", "WHY"],
      now.routes.map((route) =>
        routeRow(
          route,
          same(before?.routes, (one) => one.id === route.id),
          seconds,
        ),
      ),
    ),
    "\n",
    table(
      ["SA", "QUEUE", "SPI", "ROUTE", "ALGORITHM", "USE", "PACKETS", "BYTES", "ERRORS", "AGE", "LEFT"],
      now.associations.map(associationRow),
    ),
  ].join("");
}

/** historyText returns steps of the past. */
export function historyText(history: readonly Rates[]): string {
  return table(
    ["AGO", "FROM SITES", "", "TO SITES", "", "DROPS", "MOST"],
    history.map((step) => [
      ago(step.agoSeconds),
      `${Math.round(step.rxpackets)}/s`,
      `${bytes(step.rxbytes)}/s`,
      `${Math.round(step.txpackets)}/s`,
      `${bytes(step.txbytes)}/s`,
      `${Math.round(step.drops)}/s`,
      `${Math.round(step.most)}/s`,
    ]),
  );
}

function look(given: Given): Top {
  using client = GatewayClient.open(given, "causeway top");
  const span = spans.find((name) => name === given.value("history"));
  const most = given.flag("json") ? MOST_STEPS : SHOWN_STEPS;
  const answer = client.ask({ op: "top", most, ...(span === undefined ? {} : { span }) });
  if (!("top" in answer))
    throw new Error("The gateway answered something else; use a command line of the same version");
  return answer.top;
}

/** Shows it until somebody ends it. */
async function live(given: Given): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<"end">();
  using _ = onSignal(["SIGINT", "SIGTERM"], () => resolve("end"));
  for (let before: Top | undefined; ;) {
    const now = look(given);
    printText(`${CLEAR}${topText(now, before, REFRESH_MS / 1000)}\nCtrl-C ends\n`);
    before = now;
    if ((await Promise.race([promise, sleep(REFRESH_MS)])) === "end") return 0;
  }
}

/** top is the command. */
export const top: Command = {
  name: "top",
  about: "Watch a site gateway: interfaces, queues, routes, SAs",
  more: `IN is what came, OUT what left: packets and bytes. KEYS counts how often keys
were agreed on. With --history: averages of 2 s over 2h, of 30 s over 24h, of
5 minutes over 7d; MOST are packets of the best 2 s.`,
  positionals: ["NAME"],
  options: withJson({
    once: { about: "print one look, and end" },
    history: { about: "print how it went: 2h, 24h, 7d", value: "SPAN", choices: spans },
    folder: folderOption,
  }),
  examples: ["causeway top paris", "causeway top paris --history 24h", "causeway top paris --json"],
  async run(given) {
    if (given.flag("json")) return printJson(look(given));
    if (given.value("history") !== undefined) printText(historyText(look(given).history));
    else if (given.flag("once")) printText(topText(look(given), undefined, 1));
    else return live(given);
    return 0;
  },
};
