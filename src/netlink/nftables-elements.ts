/**
 * Elements of nftables sets, straight to the kernel. libnftables lists all tables, chains and sets of the namespace before each command,
 * and kube-proxy may have ten thousands of them; this costs what it changes.
 *
 * ```
 *   batch begin │ new elements … │ delete elements … │ batch end        one transaction (net/netfilter/nfnetlink.c, nfnetlink_rcv_batch)
 * ```
 * It knows sets without intervals, of the types in nftables-key.ts; for others `change` says so, and the caller uses Nftables.
 */
import { NETLINK, type Netns } from "../sys/mod.ts";
import { attributes, be16, be32, headed, list, raw, struct, text, u8 } from "../wire/mod.ts";
import { encodeKey, type KeyLayout } from "./nftables-key.ts";
import { FLAG, type Message, message } from "./request.ts";
import { NetlinkSocket } from "./socket.ts";

/** NFPROTO_… of include/uapi/linux/netfilter.h. */
const protocols = { inet: 1, ip: 2, ip6: 10, bridge: 7 } as const;

const SUBSYSTEM = 10;
const NFT_MSG = { getSet: 10, newElement: 12, deleteElement: 14 } as const;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;

/** NFT_SET_INTERVAL, and NFT_SET_CONCAT: ranges in a part of the key. */
const WITH_INTERVALS = 0x4 | 0x80;
/** NFT_DATA_VERDICT. */
const VERDICT = 0xffffff00;

/** Attributes must not grow beyond 64 KiB. */
const MOST_IN_A_MESSAGE = 300;

const header = struct({ family: u8, version: u8, resource: be16 });
const data = attributes({
  value: [1, raw],
  verdict: [2, attributes({ code: [1, be32], chain: [2, text] })],
});
const setMessage = headed(
  header,
  attributes(
    {
      table: [1, text],
      name: [2, text],
      flags: [3, be32],
      keyType: [4, be32],
      keyBytes: [5, be32],
      dataType: [6, be32],
      dataBytes: [7, be32],
    },
    { keepUnknown: false },
  ),
);
const elementsMessage = headed(
  header,
  attributes({
    table: [1, text],
    set: [2, text],
    elements: [3, list(attributes({ key: [1, data], data: [2, data] }))],
  }),
);

type Body = NonNullable<Parameters<typeof elementsMessage.encode>[1]["body"]["elements"]>[number];

/** NftablesElement is an element of a set or map, in words of nft(8). */
export interface NftablesElement {
  readonly family: keyof typeof protocols;
  readonly table: string;
  readonly set: string;
  readonly key: readonly string[];
  /** A verdict without argument, or with one (`jump x`), or the parts of a value. */
  readonly value?: string;
}

interface Layout {
  readonly key: KeyLayout;
  readonly data: KeyLayout | undefined;
}

/** Verdicts of include/uapi/linux/netfilter.h and nf_tables.h. */
const verdicts: Readonly<Record<string, number>> = {
  drop: 0,
  accept: 1,
  continue: -1,
  return: -5,
  jump: -3,
  goto: -4,
};

/** NftablesElements is a socket on the sets of one namespace. It remembers how sets are laid out until `forget`. */
export class NftablesElements implements Disposable {
  readonly #socket: NetlinkSocket;
  /** Undefined for a set that only nft understands. */
  readonly #layouts = new Map<string, Layout | undefined>();

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  static open(options: { readonly netns?: Netns | undefined } = {}): NftablesElements {
    return new NftablesElements(
      NetlinkSocket.open(NETLINK.netfilter, { netns: options.netns, strict: false }),
    );
  }

  /** forget asks for the layout of every set anew; for when tables were replaced. */
  forget(): void {
    this.#layouts.clear();
  }

  /**
   * change removes and adds elements in one transaction, all or nothing; false when it cannot lay one of them out, and has done nothing.
   * Throws NetlinkError: ENOENT for an element to remove that is not there, EEXIST for one to add that has another value.
   */
  change(removed: readonly NftablesElement[], added: readonly NftablesElement[]): boolean {
    const messages = [
      ...this.#messages(NFT_MSG.deleteElement, 0, removed, false),
      ...this.#messages(NFT_MSG.newElement, FLAG.create, added, true),
    ];
    const ready = messages.filter((one) => one !== undefined);
    if (ready.length < messages.length) return false;
    if (ready.length > 0)
      this.#socket.transaction("change nftables elements", ready, {
        begin: mark(BATCH_BEGIN),
        end: mark(BATCH_END),
      });
    return true;
  }

  #messages(
    type: number,
    flags: number,
    elements: readonly NftablesElement[],
    withValue: boolean,
  ): (Message | undefined)[] {
    const groups = Map.groupBy(elements, ({ family, table, set }) => `${family} ${table} ${set}`);
    return [...groups.values()].flatMap((group) => {
      const { family, table, set } = group[0] as NftablesElement;
      const layout = this.#layout(family, table, set);
      if (layout === undefined) return [undefined];
      const bodies = group.map((element) => bodyOf(element, layout, withValue));
      const known = bodies.filter((body) => body !== undefined);
      if (known.length < bodies.length) return [undefined];
      return chunks(known).map((part) =>
        message((SUBSYSTEM << 8) | type, flags, elementsMessage, {
          header: { family: protocols[family], version: 0, resource: 0 },
          body: { table, set, elements: part },
        }),
      );
    });
  }

  #layout(family: keyof typeof protocols, table: string, set: string): Layout | undefined {
    const name = `${family} ${table} ${set}`;
    if (!this.#layouts.has(name)) this.#layouts.set(name, this.#ask(family, table, set));
    return this.#layouts.get(name);
  }

  #ask(family: keyof typeof protocols, table: string, set: string): Layout | undefined {
    let layout: Layout | undefined;
    const question = message((SUBSYSTEM << 8) | NFT_MSG.getSet, 0, setMessage, {
      header: { family: protocols[family], version: 0, resource: 0 },
      body: { table, name: set },
    });
    this.#socket.request(
      () => `read set ${set} of table ${family} ${table}`,
      question,
      (_type, reader) => {
        const { flags = 0, keyType, keyBytes, dataType, dataBytes = 0 } = setMessage.decode(reader).body;
        if (keyType === undefined || keyBytes === undefined || (flags & WITH_INTERVALS) !== 0) return;
        const key = { type: keyType, bytes: keyBytes };
        layout = { key, data: dataType === undefined ? undefined : { type: dataType, bytes: dataBytes } };
      },
    );
    return layout;
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function mark(type: number): Message {
  return message(type, 0, header, { family: 0, version: 0, resource: SUBSYSTEM });
}

function bodyOf(element: NftablesElement, layout: Layout, withValue: boolean): Body | undefined {
  const key = encodeKey(element.key, layout.key);
  if (key === undefined) return undefined;
  if (!withValue || element.value === undefined) return { key: { value: key } };
  const found = layout.data && valueOf(element.value, layout.data);
  return found && { key: { value: key }, data: found };
}

function valueOf(value: string, layout: KeyLayout): Body["data"] {
  if (layout.type >>> 0 !== VERDICT) {
    const bytes = encodeKey(value.split(" . "), layout);
    return bytes && { value: bytes };
  }
  const [verdict = "", chain] = value.split(" ");
  const code = verdicts[verdict];
  if (code === undefined || (chain === undefined) === (verdict === "jump" || verdict === "goto"))
    return undefined;
  return { verdict: { code: code >>> 0, ...(chain !== undefined && { chain }) } };
}

function chunks<T>(items: readonly T[]): T[][] {
  const out: T[][] = [];
  for (let at = 0; at < items.length; at += MOST_IN_A_MESSAGE)
    out.push(items.slice(at, at + MOST_IN_A_MESSAGE));
  return out;
}
