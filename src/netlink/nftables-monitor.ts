/**
 * NftablesMonitor: which tables each transaction of nf_tables named, whoever made it. What was changed in them is not read: kube-proxy
 * and others change tables all the time, and all of that must cost next to nothing.
 *
 * ```
 *   new table | delete rule | new element …   each with the name of its table     nf_tables_commit() of net/netfilter/nf_tables_api.c
 *   new generation                            the transaction is complete
 * ```
 */
import { NETLINK, type Netns } from "../sys/mod.ts";
import { attributes, be16, be32, DecodeError, headed, type Reader, struct, text, u8 } from "../wire/mod.ts";
import { Listener } from "./listener.ts";
import { eachAnswer } from "./message.ts";

/** NFNLGRP_NFTABLES and NFNL_SUBSYS_NFTABLES of include/uapi/linux/netfilter/nfnetlink.h. */
const GROUP = 7;
const SUBSYSTEM = 10;

/** NFT_MSG_NEWGEN of include/uapi/linux/netfilter/nf_tables.h. */
const NEW_GENERATION = 15;

/** Every object says the name of its table in its first attribute: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_SET_ELEM_LIST_TABLE and so on. */
const TABLE_NAME = 1;

/** NFPROTO_… of include/uapi/linux/netfilter.h. */
const families = { 1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6" } as const;

/** NftablesFamily is the family of a table, in words of nft(8). */
export type NftablesFamily = (typeof families)[keyof typeof families];

/** struct nfgenmsg and enum nft_gen_attributes. */
const generationMessage = headed(
  struct({ family: u8, version: u8, resource: be16 }),
  attributes({ id: [1, be32], processId: [2, be32], processName: [3, text] }),
);

/** NftablesTransaction is a change that was made as a whole. */
export interface NftablesTransaction {
  /** Grows by one with each transaction of the namespace. */
  readonly generation: number;
  /** Name of the program's thread, as in /proc/PID/comm. */
  readonly processName?: string;
  /** Tables of which anything was made, changed or removed. */
  readonly tables: readonly { readonly family: NftablesFamily; readonly name: string }[];
}

/** NftablesMonitorOptions say where to listen and who hears of it. */
export interface NftablesMonitorOptions {
  readonly netns?: Netns | undefined;
  /** Size of the kernel's queue, default 8 MiB. */
  readonly receiveBufferBytes?: number;
  readonly onTransaction: (transaction: NftablesTransaction) => void;
  /** Transactions were missed: every table may have changed. */
  readonly onOverrun: () => void;
}

/** NftablesMonitor is one listening socket. It keeps its process alive until it is closed. */
export class NftablesMonitor implements Disposable {
  readonly #options: NftablesMonitorOptions;
  readonly #listener: Listener;
  /** Tables that the transaction named so far, by family and name. */
  readonly #named = new Map<string, NftablesTransaction["tables"][number]>();

  private constructor(options: NftablesMonitorOptions) {
    this.#options = options;
    this.#listener = Listener.open({
      protocol: NETLINK.netfilter,
      groups: [GROUP],
      netns: options.netns,
      receiveBufferBytes: options.receiveBufferBytes,
      onDatagram: (datagram) => this.#read(datagram),
      onOverrun: () => this.#overrun(),
    });
  }

  static open(options: NftablesMonitorOptions): NftablesMonitor {
    return new NftablesMonitor(options);
  }

  #overrun(): void {
    this.#named.clear();
    this.#options.onOverrun();
  }

  #read(datagram: Uint8Array): void {
    const complete: NftablesTransaction[] = [];
    try {
      eachAnswer(datagram, (answer) => {
        if (answer.kind !== "data" || answer.type >> 8 !== SUBSYSTEM) return true;
        if ((answer.type & 0xff) === NEW_GENERATION) complete.push(this.#complete(answer.body));
        else this.#name(answer.body);
        return true;
      });
    } catch (error) {
      // A message that cannot be read is one that was lost.
      if (!(error instanceof DecodeError)) throw error;
      this.#overrun();
    }
    for (const transaction of complete) this.#options.onTransaction(transaction);
  }

  #complete(body: Reader): NftablesTransaction {
    const { id = 0, processName } = generationMessage.decode(body).body;
    const tables = [...this.#named.values()];
    this.#named.clear();
    return { generation: id, tables, ...(processName !== undefined && { processName }) };
  }

  /** Reads no further than the name: a transaction may have ten thousands of rules. */
  #name(body: Reader): void {
    const family = families[body.u8() as keyof typeof families] as NftablesFamily | undefined;
    body.skip(3);
    while (family !== undefined && body.remaining >= 4) {
      const length = body.u16();
      const type = body.u16();
      const value = body.sub(length - 4);
      if ((type & 0x3fff) === TABLE_NAME) {
        const name = value.text();
        const key = `${family} ${name}`;
        if (!this.#named.has(key)) this.#named.set(key, { family, name });
        return;
      }
      body.skipPadding((4 - (length % 4)) % 4);
    }
  }

  /** drain delivers, before it returns, every transaction that is complete now. */
  drain(): void {
    this.#listener.drain();
  }

  close(): void {
    this.#listener.close();
    this.#named.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
