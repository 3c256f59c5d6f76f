/**
 * Everything that can happen to an end of our own exchange, in every state: what comes of it, in order, as `OursWorld.told` writes it. After an
 * arrow stands the state where anything of it is another: how many sessions there are, and whether an exchange was begun; `same` where only
 * what is kept about them has changed. Without an arrow, nothing has.
 */
import { describe, expect, test } from "bun:test";
import { ELSEWHERE, OursWorld, type StateName, STATES } from "../../../test/support/ours-worlds.ts";
import { CONTROL } from "./message.ts";
import type { OursEffect } from "./state.ts";

/** What happens; undefined where there is no such thing in a state. */
type Work = (world: OursWorld) => readonly OursEffect[] | undefined;

/** Outcomes by states, which commas separate; `others` are those that are not named, `all` where none is. */
type Row = readonly [work: Work, outcomes: Readonly<Record<string, string>>];

const NAMES = Object.keys(STATES) as StateName[];
const LIFE_MS = 600_000;

/** The last byte of what is at the beginning of a datagram, and of its code or tag. */
const [ROUTE_AT, VERSION_AT, RECEIVER_AT, RESPONSE_RECEIVER_AT, CODE_AT] = [3, 5, 11, 15, -1];

function changed(datagram: Uint8Array | undefined, at: number): Uint8Array | undefined {
  const bytes = datagram?.slice();
  if (bytes !== undefined) bytes[at < 0 ? bytes.length + at : at] = (bytes.at(at) as number) ^ 1;
  return bytes;
}

/** Hears the same again. */
const again =
  (message: (world: OursWorld) => Uint8Array | undefined): Work =>
  (world) => {
    const datagram = message(world);
    world.hear(datagram);
    return world.hear(datagram);
  };

const session = (which: "this" | "older") => (world: OursWorld) => {
  const number = world.number(which);
  return number === undefined ? undefined : world.left.step({ kind: "heard", session: number });
};

/** As good a message as there is of a kind. */
const messages = {
  initiation: (world: OursWorld) => world.initiation("theirs"),
  cookie: (world: OursWorld) => world.cookie() ?? world.recorded.ours.cookie,
  response: (world: OursWorld) => world.response() ?? world.recorded.ours.response,
  probe: (world: OursWorld) => world.control("this", { kind: CONTROL.probe }),
  answer: (world: OursWorld) => world.control("this", { kind: CONTROL.answer }),
  close: (world: OursWorld) => world.control("this", { kind: CONTROL.close }),
};

const AGREED = "agreed as responder, response, keypairs-offered";
const ANEW = AGREED.replace("responder", "responder anew");
const USED = "agreed as initiator, usable (new), probe, keypairs-negotiated";
const CLOSED = "ended (this): closed by peer, lost: closed by peer";
const WITHOUT_SESSION = "idle, begun, cookie";
const WITHOUT_EXCHANGE = "idle, unconfirmed, joined, silent, joined + unconfirmed";
const WITHOUT_COOKIE = `${WITHOUT_EXCHANGE}, begun, joined + begun`;
const none = (states: string) => ({ [states]: "·" });

const table: Readonly<Record<string, Readonly<Record<string, Row>>>> = {
  "an initiation": {
    "without a cookie": [(w) => w.hear(w.first()), { all: "cookie, challenges-offered" }],
    "with its cookie, and ours is the senior": [
      (w) => w.hear(w.initiation("ours")),
      {
        "cookie, joined + cookie": "nothing",
        idle: `${AGREED} → 1 unconfirmed`,
        begun: `${AGREED} → 1 unconfirmed + begun`,
        unconfirmed: `${AGREED} → 2 unconfirmed`,
        joined: `${AGREED} → 3 joined + 1 unconfirmed`,
        silent: `${AGREED} → 3 silent + 1 unconfirmed`,
        "joined + begun": `${AGREED} → 3 joined + 1 unconfirmed + begun`,
        "joined + unconfirmed": `${AGREED} → 2 joined + 2 unconfirmed`,
      },
    ],
    "with its cookie, and theirs is the senior": [
      (w) => w.hear(w.initiation("theirs")),
      {
        "idle, begun, cookie": `${AGREED} → 1 unconfirmed`,
        unconfirmed: `${AGREED} → 2 unconfirmed`,
        "joined, joined + begun, joined + cookie": `${AGREED} → 3 joined + 1 unconfirmed`,
        silent: `${AGREED} → 3 silent + 1 unconfirmed`,
        "joined + unconfirmed": `${AGREED} → 2 joined + 2 unconfirmed`,
      },
    ],
    "with its cookie, and no handshake left": [
      (w) => {
        w.left.handshakes = 0;
        return w.hear(w.initiation("theirs"));
      },
      { all: "protocol-errors" },
    ],
    "with its cookie, and no SPI left": [
      (w) => {
        w.left.spis.take = () => undefined;
        return w.hear(w.initiation("theirs"));
      },
      // The cookie is used up.
      { all: "full → same" },
    ],
    "with the cookie of another address": [
      (w) => w.hear(w.initiation("theirs"), ELSEWHERE),
      { all: "cookie elsewhere, challenges-offered" },
    ],
    "of a process that has started again": [
      (w) => {
        w.restart();
        return w.hear(w.initiation("theirs"));
      },
      // What there is goes on until it has shown its keys.
      {
        [WITHOUT_SESSION]: `${AGREED} → 1 unconfirmed`,
        unconfirmed: `${ANEW} → 2 unconfirmed`,
        "joined, joined + begun, joined + cookie": `${ANEW} → 3 joined + 1 unconfirmed`,
        silent: `${ANEW} → 3 silent + 1 unconfirmed`,
        "joined + unconfirmed": `${ANEW} → 2 joined + 2 unconfirmed`,
      },
    ],
    "that was answered last": [
      (w) => w.hear(w.recorded.answered.initiation),
      { [WITHOUT_SESSION]: "cookie, challenges-offered", others: "response" },
    ],
    "that was answered last, from elsewhere": [
      (w) => w.hear(w.recorded.answered.initiation, ELSEWHERE),
      { [WITHOUT_SESSION]: "cookie elsewhere, challenges-offered", others: "protocol-errors" },
    ],
    "that was answered before": [
      (w) => w.hear(w.recorded.before.initiation),
      { all: "cookie, challenges-offered" },
    ],
    "of our own": [(w) => w.hear(w.begun), { ...none(WITHOUT_EXCHANGE), others: "authentication-errors" }],
    forged: [(w) => w.hear(changed(messages.initiation(w), CODE_AT)), { all: "authentication-errors" }],
  },

  "a cookie": {
    "for what was begun": [
      (w) => w.hear(w.cookie()),
      {
        ...none(WITHOUT_EXCHANGE),
        begun: "initiation, challenges-accepted → cookie",
        "joined + begun": "initiation, challenges-accepted → 3 joined + cookie",
        "cookie, joined + cookie": "initiation, challenges-accepted → same",
      },
    ],
    again: [
      (w) => w.hear(w.recorded.usedCookie),
      { "cookie, joined + cookie": "authentication-errors", others: "·" },
    ],
    "for what was begun before": [(w) => w.hear(w.recorded.ours.cookie), { all: "protocol-errors" }],
    "for nobody": [
      (w) => w.hear(changed(w.cookie(), RECEIVER_AT)),
      { ...none(WITHOUT_EXCHANGE), others: "protocol-errors" },
    ],
    forged: [
      (w) => w.hear(changed(messages.cookie(w), CODE_AT)),
      { [WITHOUT_EXCHANGE]: "protocol-errors", others: "authentication-errors" },
    ],
  },

  "a response": {
    "to what was begun": [
      (w) => w.hear(w.response()),
      { ...none(WITHOUT_COOKIE), cookie: `${USED} → 1 joined`, "joined + cookie": `${USED} → 4 joined` },
    ],
    "to what was begun, and no handshake left": [
      (w) => {
        w.left.handshakes = 0;
        return w.hear(w.response());
      },
      { ...none(WITHOUT_COOKIE), others: "protocol-errors" },
    ],
    "of a process that has started again": [
      (w) => {
        if (w.response() === undefined) return undefined;
        w.hear(w.cookie());
        return w.hear(w.response());
      },
      {
        ...none(WITHOUT_COOKIE),
        cookie: `${USED} → 1 joined`,
        "joined + cookie": `${USED.replace("initiator", "initiator anew")} → 1 joined`,
      },
    ],
    again: [again((w) => w.response()), { ...none(WITHOUT_COOKIE), others: "protocol-errors" }],
    "to what was begun before": [(w) => w.hear(w.recorded.ours.response), { all: "protocol-errors" }],
    "to nobody": [
      (w) => w.hear(changed(w.response(), RESPONSE_RECEIVER_AT)),
      { ...none(WITHOUT_COOKIE), others: "protocol-errors" },
    ],
    forged: [
      (w) => w.hear(changed(messages.response(w), CODE_AT)),
      { [WITHOUT_COOKIE]: "protocol-errors", others: "authentication-errors" },
    ],
  },

  "a probe": {
    "under the newest session": [
      (w) => w.hear(messages.probe(w)),
      {
        ...none(WITHOUT_SESSION),
        "joined, joined + begun, joined + cookie": "answer → same",
        silent: "answer → 3 joined",
        unconfirmed: "usable (this), answer → 1 joined",
        "joined + unconfirmed": "usable (this), answer → 4 joined",
      },
    ],
    "of a process that has started again": [
      (w) => {
        w.restart();
        const response = w.hear(w.initiation("theirs"))?.find(({ kind }) => kind === "send");
        return response?.kind === "send" ? w.hear(w.probeAfter(response.datagram)) : undefined;
      },
      // Sessions of the former one are forgotten.
      { all: "usable (new), answer → 1 joined" },
    ],
    "under one before": [
      (w) => w.hear(w.control("older", { kind: CONTROL.probe })),
      { [`${WITHOUT_SESSION}, unconfirmed`]: "protocol-errors", others: "answer → same" },
    ],
    "from elsewhere": [
      (w) => w.hear(messages.probe(w), ELSEWHERE),
      {
        ...none(WITHOUT_SESSION),
        "joined, joined + begun, joined + cookie": "moved (this), answer elsewhere → same",
        silent: "moved (this), answer elsewhere → 3 joined",
        unconfirmed: "usable (this), moved (this), answer elsewhere → 1 joined",
        "joined + unconfirmed": "usable (this), moved (this), answer elsewhere → 4 joined",
      },
    ],
  },

  "an answer": {
    "under the newest session": [
      (w) => w.hear(messages.answer(w)),
      {
        ...none(WITHOUT_SESSION),
        "joined, joined + begun, joined + cookie": "alive → same",
        silent: "alive → 3 joined",
        unconfirmed: "usable (this), alive → 1 joined",
        "joined + unconfirmed": "usable (this), alive → 4 joined",
      },
    ],
    "under one before": [
      (w) => w.hear(w.control("older", { kind: CONTROL.answer })),
      { [`${WITHOUT_SESSION}, unconfirmed`]: "protocol-errors", others: "alive → same" },
    ],
    "to what was never asked": [
      (w) => w.hear(w.control("this", { kind: CONTROL.answer, stamp: 1e15 })),
      {
        ...none(WITHOUT_SESSION),
        "joined, joined + begun, joined + cookie": "protocol-errors → same",
        silent: "protocol-errors → 3 joined",
        unconfirmed: "usable (this), protocol-errors → 1 joined",
        "joined + unconfirmed": "usable (this), protocol-errors → 4 joined",
      },
    ],
  },

  "a goodbye": {
    "under the newest session": [
      (w) => w.hear(messages.close(w)),
      {
        ...none(WITHOUT_SESSION),
        "joined, silent": `${CLOSED} → 2 joined`,
        "joined + begun": `${CLOSED} → 2 joined + begun`,
        "joined + cookie": `${CLOSED} → 2 joined + cookie`,
        unconfirmed: `usable (this), ${CLOSED} → idle`,
        "joined + unconfirmed": `usable (this), ${CLOSED} → 3 joined`,
      },
    ],
    "under one before": [
      (w) => w.hear(w.control("older", { kind: CONTROL.close })),
      {
        [`${WITHOUT_SESSION}, unconfirmed`]: "protocol-errors",
        joined: "ended (older): closed by peer → 2 joined",
        silent: "ended (older): closed by peer → 2 silent",
        "joined + begun": "ended (older): closed by peer → 2 joined + begun",
        "joined + cookie": "ended (older): closed by peer → 2 joined + cookie",
        // It is the one that is used.
        "joined + unconfirmed":
          "ended (older): closed by peer, lost: closed by peer → 2 joined + 1 unconfirmed",
      },
    ],
  },

  "by itself": {
    begin: [
      (w) => w.left.begin(w.right),
      {
        begun: "initiation, negotiations-initiated → same",
        "joined + begun": "initiation, negotiations-initiated → same",
        "idle, cookie": "initiation, negotiations-initiated → begun",
        unconfirmed: "initiation, negotiations-initiated → 1 unconfirmed + begun",
        "joined, joined + cookie": "initiation, negotiations-initiated → 3 joined + begun",
        silent: "initiation, negotiations-initiated → 3 silent + begun",
        "joined + unconfirmed": "initiation, negotiations-initiated → 3 joined + 1 unconfirmed + begun",
      },
    ],
    "begin, without an SPI": [
      (w) => {
        w.left.spis.take = () => undefined;
        return w.left.begin(w.right);
      },
      {
        "begun, cookie": "full → idle",
        "joined + begun, joined + cookie": "full → 3 joined",
        others: "full",
      },
    ],
    "packets under the newest session": [
      session("this"),
      {
        ...none(WITHOUT_SESSION),
        "joined, joined + begun, joined + cookie": "→ same",
        silent: "→ 3 joined",
        unconfirmed: "usable (this) → 1 joined",
        "joined + unconfirmed": "usable (this) → 4 joined",
      },
    ],
    "packets under one before": [
      session("older"),
      { [`${WITHOUT_SESSION}, unconfirmed`]: "nothing", others: "→ same" },
    ],
    "due, too early": [(w) => w.dueAt(w.left.nowMs), { all: "nothing" }],
    "due, in time": [
      (w) => w.dueAt(w.deadline),
      {
        idle: "·",
        "begun, cookie": "initiation → same",
        unconfirmed: "ended (this): not confirmed → idle",
        others: "probe → same",
      },
    ],
    "due, when all is over": [
      (w) => w.dueAt(w.left.nowMs + LIFE_MS),
      {
        idle: "nothing",
        "begun, cookie, joined + begun, joined + cookie": "negotiations-expired, lost: no answer → idle",
        "unconfirmed, joined + unconfirmed": "ended (this): not confirmed → idle",
        "joined, silent": "→ idle",
      },
    ],
    abandon: [
      (w) => w.left.step({ kind: "abandon" }),
      { "begun, cookie": "→ idle", "joined + begun, joined + cookie": "→ 3 joined", others: "nothing" },
    ],
    close: [
      (w) => w.left.step({ kind: "close" }),
      {
        idle: "→ same",
        "begun, cookie, unconfirmed": "→ idle",
        others: "close → idle",
      },
    ],
  },
};

/** What stands in a row for a state. */
function outcomeOf(outcomes: Row[1], state: StateName): string | undefined {
  const keys = Object.keys(outcomes).filter((key) => key.split(", ").includes(state));
  if (keys.length > 1) throw new Error(`${state} stands twice`);
  return outcomes[keys[0] ?? ("others" in outcomes ? "others" : "all")];
}

for (const [subject, rows] of Object.entries(table))
  describe(subject, () => {
    for (const [name, [work, outcomes]] of Object.entries(rows))
      test(name, () => {
        for (const state of NAMES)
          expect(`${state}: ${new OursWorld(state).told(work)}`).toBe(
            `${state}: ${outcomeOf(outcomes, state)}`,
          );
      });
  });

describe("any message", () => {
  for (const [name, message] of Object.entries(messages))
    test(`${name}: of another SPI, of another version, cut, and with any byte changed`, () => {
      for (const state of NAMES) {
        const told = (work: Work) => `${state}: ${new OursWorld(state).told(work)}`;
        if (message(new OursWorld(state)) === undefined) continue;
        expect(told((w) => w.hear(changed(message(w), ROUTE_AT)))).toBe(`${state}: protocol-errors`);
        expect(told((w) => w.hear(changed(message(w), VERSION_AT)))).toBe(`${state}: version-errors`);
        expect(told((w) => w.hear(message(w)?.subarray(0, -1)))).toBe(`${state}: protocol-errors`);
        const world = new OursWorld(state);
        const bytes = message(world) as Uint8Array;
        for (let at = 8; at < bytes.length; at++)
          expect(world.told((w) => w.hear(changed(bytes, at)))).toMatch(/^(protocol|authentication)-errors$/);
      }
    });

  for (const name of ["probe", "answer", "close"] as const)
    test(`${name}: again, and for nobody`, () => {
      for (const state of NAMES) {
        const outcome = WITHOUT_SESSION.split(", ").includes(state) ? "·" : "protocol-errors";
        const told = (work: Work) => new OursWorld(state).told(work);
        expect(told(again(messages[name]))).toBe(outcome);
        expect(told((w) => w.hear(changed(messages[name](w), RECEIVER_AT)))).toBe(outcome);
      }
    });
});
