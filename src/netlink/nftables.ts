/** nftables through libnftables, in any namespace. Rules are text in the language of nft(8); listings are JSON. */
import { duplicate, Netns, NftContext } from "../sys/mod.ts";

/** NftablesError is nft's own message: what it could not do, and where in the text. */
export class NftablesError extends Error {
  override readonly name = "NftablesError";
  /** All that nft said, over several lines, with the place marked. */
  readonly detail: string;

  constructor(action: string, detail: string) {
    super(`Cannot ${action}: ${summary(detail)}`);
    this.detail = detail;
  }
}

/** The first line that says what is wrong: `<cmd>:1:12-20: Error: No such file or directory; …`. */
function summary(detail: string): string {
  const line = detail.split("\n").find((text) => text.includes("Error:")) ?? detail.trim();
  return line === "" ? "nft gives no reason" : line.replace(/^.*?Error: /, "");
}

/** Nftables is a context of libnftables in one namespace. */
export class Nftables implements Disposable {
  /** A handle of our own: the caller may close its. */
  readonly #netns: Netns | undefined;
  readonly #context: NftContext;

  private constructor(netns: Netns | undefined) {
    this.#netns = netns && Netns.adopt(duplicate(netns.fd, "netns").release(), netns.path);
    try {
      this.#context = this.#inside(() => new NftContext());
    } catch (error) {
      this.#netns?.close();
      throw error;
    }
  }

  /** open makes a context; an error names the package to install when the library is missing. */
  static open(options: { readonly netns?: Netns } = {}): Nftables {
    return new Nftables(options.netns);
  }

  /** run runs commands in the language of nft(8) as one transaction: all or nothing. Throws NftablesError. */
  run(text: string): void {
    const { failed, error } = this.#inside(() => this.#context.run(text));
    if (failed) throw new NftablesError("apply nftables rules", error);
  }

  /** json runs a listing command, such as `list table inet causeway`, and returns its JSON document. Throws NftablesError. */
  json(command: string): unknown {
    const { failed, output, error } = this.#inside(() => this.#context.run(command, { json: true }));
    if (failed) throw new NftablesError(`run nft ${command}`, error);
    return output === "" ? { nftables: [] } : JSON.parse(output);
  }

  /** The library opens sockets when it is made and while it runs, so each must happen in the namespace. */
  #inside<T extends object>(work: () => T): T {
    return this.#netns === undefined ? work() : (this.#netns.run(work as () => never) as T);
  }

  close(): void {
    this.#context.close();
    this.#netns?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
