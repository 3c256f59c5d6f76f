/** What a worker has to tell, until it is told: in lists, so that a busy worker tells at most every REPORT_MS what passed. */
import { encodeLists, type Report, type Traffic } from "./link.ts";
import type { SharedSession } from "./shared-session.ts";

/** REPORT_MS lies between two reports of what goes on. The protocol's timers have seconds. */
export const REPORT_MS = 100;

/** Reports collects them. */
export class Reports {
  readonly #placeOf: (session: SharedSession) => Uint8Array | undefined;
  readonly #dirty: SharedSession[] = [];
  #urgent: Report[] = [];
  /** Messages that the link had no room for. */
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #hurry = false;
  #movedMs = 0;
  #nextMs = 0;

  /** `placeOf` returns where the peer of a session is. */
  constructor(placeOf: (session: SharedSession) => Uint8Array | undefined) {
    this.#placeOf = placeOf;
  }

  /** note: something passed under a session. */
  note(session: SharedSession): void {
    if (!session.reported) return;
    session.reported = false;
    this.#dirty.push(session);
  }

  /** hurry: what was noted is to be told at once. */
  hurry(): void {
    this.#hurry = true;
  }

  /** hurryMove likewise, but for one in each period: a peer may go on moving. */
  hurryMove(nowMs: number): void {
    if (nowMs - this.#movedMs < REPORT_MS) return;
    this.#movedMs = nowMs;
    this.#hurry = true;
  }

  /** add tells at once. */
  add(report: Report): void {
    this.#urgent.push(report);
  }

  /** last tells what passed under a session that ended. */
  last(session: SharedSession): void {
    const at = this.#dirty.indexOf(session);
    if (at < 0) return;
    this.#dirty.splice(at, 1);
    this.add({ kind: "traffic", ...this.#trafficOf(session) });
  }

  /** all tells everything at once. */
  all(): void {
    for (const session of this.#dirty.splice(0)) this.add({ kind: "traffic", ...this.#trafficOf(session) });
  }

  /** waitMs returns when to call `send` again; -1 when something happens. */
  waitMs(nowMs: number): number {
    if (this.#waiting.length > 0) return 1;
    if (this.#urgent.length > 0 || this.#hurry) return 0;
    if (this.#dirty.length === 0) return -1;
    return Math.max(1, Math.ceil(this.#nextMs - nowMs));
  }

  /** send tells what is due. `trySend` returns false when there is no room. */
  send(trySend: (message: Uint8Array<ArrayBuffer>) => boolean, nowMs: number): void {
    // While the control thread does not listen, what passes is summed up further.
    const due = this.#waiting.length === 0 && (this.#hurry || nowMs >= this.#nextMs);
    if (due && this.#dirty.length > 0) this.all();
    if (due) this.#hurry = false;
    if (this.#urgent.length > 0) {
      this.#waiting.push(...encodeLists(this.#urgent));
      this.#urgent = [];
      this.#nextMs = nowMs + REPORT_MS;
    }
    let sent = 0;
    while (sent < this.#waiting.length && trySend(this.#waiting[sent] as Uint8Array<ArrayBuffer>)) sent++;
    if (sent > 0) this.#waiting = this.#waiting.slice(sent);
  }

  #trafficOf(session: SharedSession): Traffic {
    const place = session.moved ? this.#placeOf(session) : undefined;
    const traffic: Traffic = {
      session: session.localIndex,
      ...(session.sentBytes === 0 ? {} : { sent: { data: session.sentData, bytes: session.sentBytes } }),
      ...(session.receivedBytes === 0
        ? {}
        : { received: { data: session.receivedData, bytes: session.receivedBytes } }),
      ...(place === undefined ? {} : { place: Buffer.from(place).toString("hex") }),
      ...(session.first ? { first: true } : {}),
    };
    session.reported = true;
    session.sentBytes = 0;
    session.sentData = false;
    session.receivedBytes = 0;
    session.receivedData = false;
    session.moved = false;
    session.first = false;
    return traffic;
  }
}
