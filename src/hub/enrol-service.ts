/** The enrolment service: newcomers' connections on the first address of the enrolment prefix. */
import { ENROL_PORT } from "../mesh/mod.ts";
import { formatIp, type Ip, parseIp, prefixContains, type PrivateKey } from "../net/mod.ts";
import {
  after,
  listenTcp,
  monotonicMs,
  randomBytes,
  type TcpConnection,
  type TcpEvents,
  type TcpListener,
  wallMs,
} from "../sys/mod.ts";
import { Admission, MAX_NEWCOMERS, type RefusalReason } from "./admission.ts";
import { ENROL_LINE_BYTES, type RefusedMessage } from "./enrol-protocol.ts";
import { type EnrolEvent, startEnrol, stepEnrol } from "./enrol-server.ts";
import { NONCE_BYTES } from "./proof.ts";
import type { Register, Registration } from "./register.ts";

/** A newcomer that has not registered by then is cut off. */
const ENROL_MS = 10_000;

/** EnrolOptions is what the service needs. */
export interface EnrolOptions {
  readonly register: Register;
  /** Those that the hub answers to, the present one first. */
  readonly hubKeys: () => readonly PrivateKey[];
  readonly address: Ip;
  readonly port?: number;
  /** Registers, and says what is to be answered; never rejects. */
  readonly registered: (
    registration: Registration,
    told: { readonly from: string; readonly hubKey: PrivateKey },
  ) => Promise<EnrolEvent>;
}

/** EnrolService owns the listening socket and newcomers' connections. */
export class EnrolService implements Disposable {
  /** How often newcomers may knock, and what was refused. */
  readonly admission = new Admission();
  readonly #options: EnrolOptions;
  readonly #listener: TcpListener;

  constructor(options: EnrolOptions) {
    this.#options = options;
    this.#listener = listenTcp({
      address: formatIp(options.address),
      port: options.port ?? ENROL_PORT,
      maxLineBytes: ENROL_LINE_BYTES,
      maxConnections: MAX_NEWCOMERS,
      accept: (connection) => this.#accept(connection),
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  #accept(connection: TcpConnection): TcpEvents | string {
    const { register, hubKeys, registered } = this.#options;
    const from = connection.remoteAddress;
    const address = parseIp(from);
    const source = { from, token: register.tokenAt(address) };
    const refused = (reason: RefusalReason, harmless = false) =>
      this.admission.refused(source, { reason, harmless }, { nowMs: monotonicMs(), wallMs: wallMs() });
    if (!prefixContains(register.mesh().enrol6, address)) {
      refused("not-enrolment");
      return "not from the enrolment network";
    }
    if (this.admission.enter(source, monotonicMs()) !== undefined) {
      // It waits already: being turned away must not make it wait for ever.
      refused("too-many", true);
      return "too many connections";
    }
    let [session, effects] = startEnrol(address, randomBytes(NONCE_BYTES));
    const step = (event: EnrolEvent) => {
      [session, effects] = stepEnrol(session, event, hubKeys());
      perform();
    };
    const perform = () => {
      for (const effect of effects) {
        if (effect.kind === "send") {
          connection.send(JSON.stringify(effect.message));
          const { type, code, freeUses } = effect.message as Partial<RefusedMessage>;
          if (type === "refused" && code !== undefined) refused(code, (freeUses?.length ?? 0) > 0);
        } else if (effect.kind === "close") connection.close();
        else void registered(effect.registration, { from, hubKey: effect.hubKey }).then(step);
      }
    };
    const deadline = after(ENROL_MS, () => {
      refused("too-slow");
      connection.close("too slow");
    });
    perform();
    return {
      line: (text) => step({ kind: "line", text }),
      closed: () => {
        deadline[Symbol.dispose]();
        this.admission.leave(source);
      },
    };
  }

  /** sweep forgets what is older than a minute. */
  sweep(nowMs: number): void {
    this.admission.sweep(nowMs);
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
  }
}
