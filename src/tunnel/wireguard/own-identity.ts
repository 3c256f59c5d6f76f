/** Who a device is: its private key, and what follows from it. */
import { type PrivateKey, type PublicKey, Secret } from "../../net/mod.ts";
import { Gate } from "./gate.ts";
import { macKeys } from "./mac.ts";
import type { DhKey, Primitives } from "../../noise/mod.ts";
import type { LoadBook } from "./under-load.ts";

/** OwnIdentity owns copies of the private key: disposing wipes them. */
export class OwnIdentity implements Disposable {
  readonly publicKey: PublicKey;
  readonly key: DhKey;
  /** For the one who asks for the configuration with its secrets. */
  readonly secret: Secret;
  /** Who may speak to us. */
  readonly gate: Gate;

  constructor(privateKey: PrivateKey, primitives: Primitives, book: LoadBook) {
    this.publicKey = privateKey.publicKey;
    this.secret = new Secret(privateKey.reveal());
    this.key = primitives.privateKey(this.secret.reveal());
    this.gate = new Gate(primitives, macKeys(primitives, this.key.publicKey), book);
  }

  [Symbol.dispose](): void {
    this.key[Symbol.dispose]();
    this.gate[Symbol.dispose]();
    this.secret.reveal().fill(0);
  }
}
