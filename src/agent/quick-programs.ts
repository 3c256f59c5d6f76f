/**
 * QuickPrograms says whether this node has programs of traffic control at its links, which only spare packets what they cost: pods' good packets the look into
 * the rules (pods/own-mark.ts), frames from other nodes the bridge (domain/short-way.ts). Whatever the kernel says against one of them (no cls_bpf, no
 * clsact, no right to load one, a verifier that does not like it), all goes by the bridge and its rules from then on, until the agent begins anew.
 */
export class QuickPrograms {
  readonly #onRefusal: (reason: string) => void;
  #wanted: boolean;

  /** `onRefusal` is told once, with the kernel's words. */
  constructor({
    wanted = true,
    onRefusal,
  }: {
    readonly wanted?: boolean;
    readonly onRefusal: (reason: string) => void;
  }) {
    this.#wanted = wanted;
    this.#onRefusal = onRefusal;
  }

  /** wanted tells whether links are to have them. */
  get wanted(): boolean {
    return this.#wanted;
  }

  /** refuse says that the kernel did not take one. */
  refuse(reason: string): void {
    if (this.#wanted) this.#onRefusal(reason);
    this.#wanted = false;
  }
}
