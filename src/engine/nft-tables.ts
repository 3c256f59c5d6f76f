/** Our nftables tables, as last listed or loaded. nft sends no events to us: the engine says when to list again. */
import { Nftables } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { Work } from "./kind.ts";
import { digest, elementText, markChain, type TableView, valueText, viewTable } from "./nft-table.ts";
import { elementBody } from "./nftables.ts";
import { type Ruleset, type SetElement, TABLE } from "./object.ts";

type Family = Ruleset["family"];
type RulesetWork = Extract<Work, { via: "ruleset" }>;
type ElementWork = Extract<Work, { via: "element" }>;

/** NftTables owns the connection to libnftables; it is opened at the first question. */
export class NftTables implements Disposable {
  readonly #netns: Netns | undefined;
  readonly #views = new Map<Family, TableView | undefined>();
  #nft: Nftables | undefined;
  #present: ReadonlySet<string> | undefined;

  constructor(netns: Netns | undefined) {
    this.#netns = netns;
  }

  /** view returns our table of a family, listed at the first question; undefined when there is none. */
  view(family: Family): TableView | undefined {
    if (!this.#views.has(family)) this.#views.set(family, this.#list(family));
    return this.#views.get(family);
  }

  /** forget makes the next question list again. */
  forget(): void {
    this.#views.clear();
    this.#present = undefined;
  }

  /** load replaces, or removes, the table of a family, in one transaction with the elements that belong to it. */
  load(work: RulesetWork, elements: readonly SetElement[]): Error | undefined {
    const { family, text } = work;
    // Adding first makes deleting right whether the table was there or not.
    const clear = `add table ${family} ${TABLE}\ndelete table ${family} ${TABLE}\n`;
    try {
      if (text === undefined) {
        this.#run(clear);
        this.#views.set(family, undefined);
        return undefined;
      }
      const table = `${clear}table ${family} ${TABLE} {\n${text}\n}\n`;
      try {
        this.#run(table + addCommands(elements));
      } catch (error) {
        if (elements.length === 0) throw error;
        // Either the ruleset or an element is bad: elements are tried again one by one afterwards.
        this.#run(table);
      }
      this.#mark(family, text);
      return undefined;
    } catch (error) {
      this.#views.delete(family);
      this.#present = undefined;
      return asError(error);
    }
  }

  /** change adds and removes elements, all in one transaction; when that is refused, in halves, so that a bad one stops no other. */
  change(works: readonly ElementWork[]): (Error | undefined)[] {
    if (works.length === 0) return [];
    try {
      const gone = works.filter((work) => work.remove).map((work) => work.element);
      const added = works.filter((work) => work.add).map((work) => work.element);
      this.#run(deleteCommands(gone) + addCommands(added));
      for (const element of gone) this.#items(element)?.delete(elementText(element.key));
      for (const element of added) this.#note(element);
      return works.map(() => undefined);
    } catch (error) {
      if (works.length === 1) {
        this.forget();
        return [asError(error)];
      }
      const middle = works.length >> 1;
      return [...this.change(works.slice(0, middle)), ...this.change(works.slice(middle))];
    }
  }

  #items(element: SetElement) {
    return this.#views.get(element.family)?.sets.get(element.set);
  }

  #note(element: SetElement): void {
    const value = element.value === undefined ? undefined : valueText(element.value);
    this.#items(element)?.set(elementText(element.key), { key: element.key, value });
  }

  #mark(family: Family, text: string): void {
    this.#present = undefined;
    const found = viewTable(this.#connection().json(`list table ${family} ${TABLE}`));
    const mark = { text: digest(text), listing: found.listing };
    this.#run(`add chain ${family} ${TABLE} ${markChain(mark.text, mark.listing)}\n`);
    this.#views.set(family, { ...found, mark });
  }

  #list(family: Family): TableView | undefined {
    this.#present ??= this.#tables();
    if (!this.#present.has(family)) return undefined;
    return viewTable(this.#connection().json(`list table ${family} ${TABLE}`));
  }

  #tables(): ReadonlySet<string> {
    const document = this.#connection().json("list tables") as {
      nftables?: { table?: { family: string; name: string } }[];
    };
    const tables = (document.nftables ?? []).flatMap((entry) => (entry.table ? [entry.table] : []));
    return new Set(tables.filter((table) => table.name === TABLE).map((table) => table.family));
  }

  #run(text: string): void {
    this.#connection().run(text);
  }

  #connection(): Nftables {
    this.#nft ??= Nftables.open(this.#netns === undefined ? {} : { netns: this.#netns });
    return this.#nft;
  }

  [Symbol.dispose](): void {
    this.#nft?.close();
    this.#nft = undefined;
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function addCommands(elements: readonly SetElement[]): string {
  return commands("add", elements, true);
}

function deleteCommands(elements: readonly SetElement[]): string {
  return commands("delete", elements, false);
}

/** One command per set with all its elements: nft is fast by the element and slow by the command. */
function commands(verb: "add" | "delete", elements: readonly SetElement[], value: boolean): string {
  let text = "";
  for (const [where, list] of Map.groupBy(elements, ({ family, set }) => `${family} ${TABLE} ${set}`))
    text += `${verb} element ${where} { ${list.map((element) => elementBody(element, value)).join(", ")} }\n`;
  return text;
}
