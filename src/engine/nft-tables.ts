/**
 * Our nftables tables, as last listed or loaded. What others do to them is heard and kept until the engine takes it: a listing costs as
 * much as the table is large, so the engine says when to list again.
 */
import { Nftables, NftablesElements, NftablesMonitor, type NftablesTransaction } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { Work } from "./kind.ts";
import { digest, elementText, markChain, type TableView, valueText, viewTable } from "./nft-table.ts";
import { elementBody, FAMILIES } from "./nftables.ts";
import { type Ruleset, type SetElement, TABLE } from "./object.ts";

type Family = Ruleset["family"];
type RulesetWork = Extract<Work, { via: "ruleset" }>;
type ElementWork = Extract<Work, { via: "element" }>;

/**
 * MOST_CONTEXTS bounds the contexts of libnftables that are open at once, over all namespaces: each holds most of a megabyte, and a node
 * may have hundreds of namespaces whose rulesets are loaded once.
 */
const MOST_CONTEXTS = 4;

/** Open contexts, the least recently used first. */
const contexts = new Map<NftTables, Nftables>();

/** NftTables owns the connection to libnftables and the ear for others; they are opened at the first question. */
export class NftTables implements Disposable {
  readonly #netns: Netns | undefined;
  readonly #onForeign: () => void;
  /** Families in which somebody else changed our table. */
  readonly #foreign = new Set<Family>();
  #monitor: NftablesMonitor | undefined;
  /** What was heard since our own transaction began, while one is made. */
  #during: NftablesTransaction[] | undefined;
  readonly #views = new Map<Family, TableView | undefined>();
  #elements: NftablesElements | undefined;
  #present: ReadonlySet<string> | undefined;

  /** `onForeign` is called when somebody else changed one of our tables, also from within the methods. */
  constructor(netns: Netns | undefined, onForeign: () => void = () => {}) {
    this.#netns = netns;
    this.#onForeign = onForeign;
  }

  /** view returns our table of a family, listed at the first question; undefined when there is none. */
  view(family: Family): TableView | undefined {
    if (!this.#views.has(family)) this.#views.set(family, this.#list(family));
    return this.#views.get(family);
  }

  /** forget makes the next question list again. */
  forget(): void {
    this.#monitor?.drain();
    this.#foreign.clear();
    this.#views.clear();
    this.#elements?.forget();
    this.#present = undefined;
  }

  /** drain takes in what others did up to now. */
  drain(): void {
    this.#monitor?.drain();
  }

  /** Whether somebody else changed one of our tables since it was last taken. */
  get hasForeign(): boolean {
    return this.#foreign.size > 0;
  }

  /** takeForeign returns the families in which somebody else changed our table; the next question lists those again. */
  takeForeign(): Family[] {
    const taken = [...this.#foreign];
    this.#foreign.clear();
    for (const family of taken) this.#views.delete(family);
    if (taken.length > 0) this.#elements?.forget();
    if (taken.length > 0) this.#present = undefined;
    return taken;
  }

  #hear(transaction: NftablesTransaction): void {
    if (this.#during === undefined) this.#suspect(transaction.tables);
    else this.#during.push(transaction);
  }

  #suspect(tables: readonly { readonly family: string; readonly name: string }[]): void {
    const ours = tables.filter((table) => table.name === TABLE && isFamily(table.family));
    for (const { family } of ours) this.#foreign.add(family as Family);
    if (ours.length > 0) this.#onForeign();
  }

  /** load replaces, or removes, the table of a family, in one transaction with the elements that belong to it. */
  load(work: RulesetWork, elements: readonly SetElement[]): Error | undefined {
    const { family, text } = work;
    // Adding first makes deleting right whether the table was there or not.
    this.#elements?.forget();
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
      this.#transact(() => this.#change(gone, added));
      for (const element of gone) this.#items(element)?.delete(elementText(element.key));
      for (const element of added) this.#note(element);
      return works.map(() => undefined);
    } catch (error) {
      const [work] = works;
      if (works.length === 1 && work !== undefined) {
        this.forget();
        // Gone already, by somebody else's hand: what was asked for is so.
        const gone = work.remove && !work.add && !this.#isThere(work.element);
        return [gone ? undefined : asError(error)];
      }
      const middle = works.length >> 1;
      return [...this.change(works.slice(0, middle)), ...this.change(works.slice(middle))];
    }
  }

  #isThere({ family, set, key }: SetElement): boolean {
    return this.view(family)?.sets.get(set)?.has(elementText(key)) ?? false;
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
    const found = this.#read(family);
    const mark = { text: digest(text), listing: found.listing };
    this.#run(`add chain ${family} ${TABLE} ${markChain(mark.text, mark.listing)}\n`);
    this.#views.set(family, { ...found, mark });
  }

  #list(family: Family): TableView | undefined {
    this.#present ??= this.#tables();
    if (!this.#present.has(family)) return undefined;
    try {
      return this.#read(family);
    } catch (error) {
      // Perhaps it went a moment ago.
      this.#present = undefined;
      throw error;
    }
  }

  #read(family: Family): TableView {
    const document = this.#connection().json(`list table ${family} ${TABLE}`);
    try {
      return viewTable(document);
    } catch (error) {
      const why = (error as Error).message;
      throw new Error(`Cannot understand how nft lists table ${family} ${TABLE}: ${why}`, { cause: error });
    }
  }

  #tables(): ReadonlySet<string> {
    const document = this.#connection().json("list tables") as {
      nftables?: { table?: { family: string; name: string } }[];
    };
    const tables = (document.nftables ?? []).flatMap((entry) => (entry.table ? [entry.table] : []));
    return new Set(tables.filter((table) => table.name === TABLE).map((table) => table.family));
  }

  #run(text: string): void {
    this.#transact((connection) => connection.run(text));
  }

  /** nft is for the sets that we cannot lay out ourselves: before each command it lists all that is in the namespace. */
  #change(gone: readonly SetElement[], added: readonly SetElement[]): void {
    this.#elements ??= NftablesElements.open({ netns: this.#netns });
    const inTable = (element: SetElement) => ({ ...element, table: TABLE });
    if (!this.#elements.change(gone.map(inTable), added.map(inTable)))
      this.#connection().run(deleteCommands(gone) + addCommands(added));
  }

  /**
   * The work is one transaction, and its event is there when it returns. So what is heard meanwhile is ours when it is exactly
   * one; when it is more, others were at work too, and which is whose cannot be told: it counts as foreign. The sender's process id
   * would be that of the first pid namespace, which an agent in a container does not know of itself.
   */
  #transact(work: (connection: Nftables) => void): void {
    const connection = this.#connection();
    this.#monitor?.drain();
    const during: NftablesTransaction[] = [];
    this.#during = during;
    let done = false;
    try {
      work(connection);
      done = true;
    } finally {
      try {
        this.#monitor?.drain();
      } finally {
        this.#during = undefined;
        if (!done || during.length > 1) for (const { tables } of during) this.#suspect(tables);
      }
    }
  }

  #connection(): Nftables {
    // Listening first: what is listed later is at least as new as the first event.
    this.#monitor ??= NftablesMonitor.open({
      netns: this.#netns,
      onTransaction: (transaction) => this.#hear(transaction),
      onOverrun: () => this.#suspect(FAMILIES.map((family) => ({ family, name: TABLE }))),
    });
    const known = contexts.get(this);
    const context = known ?? Nftables.open(this.#netns === undefined ? {} : { netns: this.#netns });
    contexts.delete(this);
    for (const [owner, oldest] of contexts) {
      if (contexts.size < MOST_CONTEXTS) break;
      oldest.close();
      contexts.delete(owner);
    }
    contexts.set(this, context);
    return context;
  }

  [Symbol.dispose](): void {
    this.#monitor?.close();
    this.#monitor = undefined;
    this.#elements?.close();
    this.#elements = undefined;
    contexts.get(this)?.close();
    contexts.delete(this);
  }
}

function isFamily(family: string): family is Family {
  return (FAMILIES as readonly string[]).includes(family);
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
