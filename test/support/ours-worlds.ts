/**
 * Every state of an end of our own exchange, each with a past, and everything that can happen to it there: for a table of what comes of it.
 *
 * The end is `left`. Before, its peer has begun two exchanges, and then it has begun one; where a state is not named as joined or silent, it has
 * forgotten the three sessions since.
 */
import { type Endpoint, parseEndpoint } from "../../src/net/mod.ts";
import { systemPrimitives } from "../../src/noise/mod.ts";
import {
  CONTROL,
  type Control,
  decodeControl,
  decodeOurs,
  encodeControl,
  encodeOurs,
  oursDeadline,
  type OursEffect,
  type OursEvent,
  type OursState,
  type Session,
} from "../../src/exchange/ours/mod.ts";
import { carry, endOf, only, type OursEnd } from "./ours-ends.ts";

/** ELSEWHERE is an address that nobody has spoken from. */
export const ELSEWHERE = parseEndpoint("198.51.100.9:1234");
const TIMING = { probeMs: 150, deadMs: 450, negotiationMs: 5000, lifeMs: 600_000 };
const COUNTER_AT = 4;

/** Recorded are the handshake messages of one exchange. */
interface Recorded {
  readonly cookie: Uint8Array;
  readonly initiation: Uint8Array;
  readonly response: Uint8Array;
}

/** Runs an exchange up to the response, which is not handed over. */
function exchanged(from: OursEnd, to: OursEnd): Recorded {
  const cookie = only(to.hear(only(from.begin(to)), from.endpoint));
  const initiation = only(from.hear(cookie, to.endpoint));
  return { cookie, initiation, response: only(to.hear(initiation, from.endpoint)) };
}

/** STATES by name, and how the end gets there from its past. */
export const STATES = {
  idle: (world) => world.forget(),
  begun: (world) => {
    world.forget();
    world.left.begin(world.right);
  },
  cookie: (world) => {
    world.forget();
    world.beginWithCookie();
  },
  unconfirmed: (world) => {
    world.forget();
    world.answer();
  },
  joined: () => {},
  silent: ({ left }) => {
    left.nowMs += TIMING.deadMs;
    left.step({ kind: "due" });
  },
  "joined + begun": ({ left, right }) => void left.begin(right),
  "joined + cookie": (world) => world.beginWithCookie(),
  "joined + unconfirmed": (world) => world.answer(),
} as const satisfies Readonly<Record<string, (world: OursWorld) => void>>;

/** StateName is one of them. */
export type StateName = keyof typeof STATES;

/** OursWorld is the end and its peer in a state. */
export class OursWorld {
  readonly left = endOf(0);
  right = endOf(1);
  /** What the end has answered last, and before; and what it has begun itself. */
  #answered: Recorded;
  readonly #before: Recorded;
  readonly #ours: Recorded;
  #usedCookie: Uint8Array | undefined;
  /** By the end's numbers: the sessions that an event can be about. The one before is that which is used where the newest is not confirmed. */
  #newest: number | undefined;
  #older: number;

  constructor(state: StateName) {
    const { left, right } = this;
    const past = (from: OursEnd, to: OursEnd) => {
      const recorded = exchanged(from, to);
      carry(from, to, from.hear(recorded.response, to.endpoint));
      return recorded;
    };
    this.#before = past(right, left);
    this.#answered = past(right, left);
    this.#older = this.#first();
    this.#ours = past(left, right);
    this.#newest = this.#first();
    STATES[state](this);
  }

  #first(): number {
    return this.left.state.sessions[0]?.id as number;
  }

  /** forget has the end's sessions end by their time. */
  forget(): void {
    for (const end of [this.left, this.right]) end.nowMs += TIMING.lifeMs;
    this.left.step({ kind: "due" });
    this.#newest = undefined;
  }

  /** beginWithCookie has the end begin, and take the cookie that it is given. */
  beginWithCookie(): void {
    this.left.begin(this.right);
    this.#usedCookie = only(this.right.hear(this.begun as Uint8Array, this.left.endpoint));
    this.left.hear(this.#usedCookie, this.right.endpoint);
  }

  /** answer has the end answer its peer, which has shown nothing yet. */
  answer(): void {
    this.#answered = exchanged(this.right, this.left);
    this.right.hear(this.#answered.response, this.left.endpoint);
    if (this.#newest !== undefined) this.#older = this.#newest;
    this.#newest = this.#first();
  }

  /** restart has another process in the peer's place. */
  restart(): void {
    const { nowMs } = this.right;
    this.right = endOf(1, { boot: 99 });
    this.right.nowMs = nowMs;
  }

  /** begun is the initiation that the end has sent last. */
  get begun(): Uint8Array | undefined {
    return this.left.state.initiating?.datagram;
  }

  /** first is an initiation of the peer's that has no cookie. */
  first(): Uint8Array {
    return only(this.right.begin(this.left));
  }

  /** initiation is one of the peer's with the end's cookie; of the senior or the junior, where the end has begun too. */
  initiation(senior: "ours" | "theirs"): Uint8Array {
    const { left, right } = this;
    const own = left.state.initiating?.ephemeral;
    let first = only(right.begin(left));
    const theirs = () => right.state.initiating?.ephemeral as Uint8Array;
    while (own !== undefined && Buffer.compare(own, theirs()) < 0 !== (senior === "ours"))
      first = only(right.begin(left));
    return only(right.hear(only(left.hear(first, right.endpoint)), left.endpoint));
  }

  /** recorded is what was said before. */
  get recorded() {
    return { answered: this.#answered, before: this.#before, ours: this.#ours, usedCookie: this.#usedCookie };
  }

  /** cookie answers what the end has begun; where that has a cookie, its peer has started again since. */
  cookie(): Uint8Array | undefined {
    if (this.#usedCookie !== undefined) this.restart();
    return this.begun === undefined ? undefined : only(this.right.hear(this.begun, this.left.endpoint));
  }

  /** response answers what the end has begun with a cookie. */
  response(): Uint8Array | undefined {
    return this.#usedCookie === undefined
      ? undefined
      : only(this.right.hear(this.begun as Uint8Array, this.left.endpoint));
  }

  /** probeAfter is what shows the end that its response was understood. */
  probeAfter(response: Uint8Array): Uint8Array {
    return only(this.right.hear(response, this.left.endpoint));
  }

  /** number is the end's of a session. */
  number(which: "this" | "older"): number | undefined {
    return which === "this" ? this.#newest : this.#older;
  }

  /** control is what the peer says under a session; numbered higher than all before. */
  control(which: "this" | "older", said: Partial<Control>): Uint8Array | undefined {
    const id = this.number(which);
    const session = this.right.state.sessions.find(({ remoteId }) => remoteId === id);
    if (session === undefined) return undefined;
    const stamp = Math.round(this.left.nowMs * 1000) - 7000;
    const aead = { key: session.send.reveal(), nonce: nonceOf(session.sent) };
    const sealed = systemPrimitives.seal(encodeControl({ kind: 0, stamp, ...said }), aead);
    const message = { kind: "control", receiver: session.remoteId, counter: session.sent, sealed } as const;
    return encodeOurs(77, message);
  }

  /** hear hands it a datagram; undefined where there is none. */
  hear(
    datagram: Uint8Array | undefined,
    from: Endpoint = this.right.endpoint,
  ): readonly OursEffect[] | undefined {
    return datagram === undefined ? undefined : this.left.hear(datagram, from);
  }

  /** dueAt has it look at the clock then. */
  dueAt(nowMs: number): readonly OursEffect[] | undefined {
    if (nowMs === Number.POSITIVE_INFINITY) return undefined;
    this.left.nowMs = nowMs;
    return this.left.step({ kind: "due" });
  }

  /** deadline is when it wants to. */
  get deadline(): number {
    return oursDeadline(this.left.state, { timing: TIMING });
  }

  /** told says what comes of the last step of some work: effects in order, and the state where anything of it is another; "·" where there is no such event. */
  told(work: (world: OursWorld) => readonly OursEffect[] | undefined): string {
    let before = this.left.state;
    const step = this.left.step.bind(this.left);
    this.left.step = (event: OursEvent) => {
      before = this.left.state;
      return step(event);
    };
    const effects = work(this);
    if (effects === undefined) return "·";
    const { state } = this.left;
    const said = effects.map((effect) => this.#effect(effect)).join(", ");
    const same = (["sessions", "initiating", "generation", "answer"] as const).every(
      (part) => before[part] === state[part],
    );
    if (same) return said || "nothing";
    const [was, is] = [placeOf(before), placeOf(state)];
    return `${said}${said === "" ? "" : " "}→ ${is === was ? "same" : is}`;
  }

  #effect(effect: OursEffect): string {
    const of = (session: number) =>
      session === this.#newest ? "this" : session === this.#older ? "older" : "new";
    switch (effect.kind) {
      case "send":
        return `${this.#name(effect.datagram)}${effect.path.remote === ELSEWHERE ? " elsewhere" : ""}`;
      case "agreed":
        return `agreed as ${effect.role}${effect.restarted ? " anew" : ""}`;
      case "usable":
      case "moved":
        return `${effect.kind} (${of(effect.session)})`;
      case "ended":
        return `ended (${of(effect.session)}): ${effect.reason}`;
      case "lost":
        return `lost: ${effect.reason}`;
      case "count":
        return effect.leaf;
      default:
        return effect.kind;
    }
  }

  /** By the peer, which alone can read what is said under a session. */
  #name(datagram: Uint8Array): string {
    const message = decodeOurs(datagram)?.message;
    if (message?.kind !== "control") return message?.kind ?? "nonsense";
    const session = this.right.state.sessions.find(({ id }) => id === message.receiver) as Session;
    const aead = { key: session.receive.reveal(), nonce: nonceOf(message.counter) };
    const plain = systemPrimitives.open(message.sealed, aead) as Uint8Array;
    const number = decodeControl(plain)?.kind;
    return Object.entries(CONTROL).find(([, value]) => value === number)?.[0] ?? "nonsense";
  }
}

function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(COUNTER_AT, BigInt(counter));
  return nonce;
}

/** What an end is in: how many sessions it has, and whether it has begun another exchange. */
function placeOf({ sessions, initiating }: OursState): string {
  const confirmed = sessions.filter((session) => session.confirmed);
  const open = sessions.length - confirmed.length;
  const parts = [
    ...(confirmed.length > 0 ? [`${confirmed.length} ${confirmed[0]?.silent ? "silent" : "joined"}`] : []),
    ...(open > 0 ? [`${open} unconfirmed`] : []),
    ...(initiating === undefined ? [] : [initiating.cookies > 0 ? "cookie" : "begun"]),
  ];
  return parts.join(" + ") || "idle";
}
