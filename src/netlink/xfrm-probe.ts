/**
 * What the kernel's XFRM can do, found out by asking it in a namespace for what is never used and removing that again. A kernel that did not
 * say yes or no (no rights, no memory) has not answered: whoever asked does not remember that, and asks again later.
 */
import { type Family, KeyMaterial, parseIp } from "../net/mod.ts";
import { type Netns, SystemError } from "../sys/mod.ts";
import { NetlinkError } from "./error.ts";
import { Xfrm } from "./xfrm.ts";
import type { XfrmAlgorithm } from "./xfrm-key.ts";
import { addSa, deleteSa, type SaInfo } from "./xfrm-sa.ts";

/** Ability is the outcome of a probe; `cause` has the kernel's words. */
export type Ability =
  | { readonly answer: "yes" }
  | { readonly answer: "no"; readonly cause?: Error }
  | { readonly answer: "undecided"; readonly cause: Error };

/** Addresses of documentation (RFC 5737, RFC 3849): nobody has an association with them. */
const ENDS = {
  4: { source: parseIp("192.0.2.253"), destination: parseIp("192.0.2.254") },
  6: { source: parseIp("2001:db8::fffd"), destination: parseIp("2001:db8::fffe") },
} as const;
const SPI = 0xca05_e3a7;
const REQID = 0xca05_e3a7;

/** The kernel's noes: no XFRM or no ESP (EPROTONOSUPPORT), no such algorithm (ENOSYS, ENOENT), no such family. */
const LACKING = ["EPROTONOSUPPORT", "ENOSYS", "ENOENT", "EAFNOSUPPORT"];

/** probeEsp asks whether the kernel has ESP over a family, with an algorithm; it loads its modules for that if it can. */
export function probeEsp(options: {
  readonly algorithm: XfrmAlgorithm;
  readonly outer: Family;
  readonly netns?: Netns;
}): Ability {
  const { algorithm, outer } = options;
  using material = new KeyMaterial(new Uint8Array(algorithm === "aes-128-gcm" ? 20 : 36));
  const id = { ...ENDS[outer], spi: SPI };
  return probe(options.netns, (xfrm) => {
    // The limit ends it even if we do not come to remove it.
    const limits = { hard: { addSeconds: 5n } };
    try {
      xfrm.request(
        addSa({ ...id, algorithm, material, extended: true, direction: "in", reqid: REQID, limits }),
      );
    } catch (error) {
      if (error instanceof NetlinkError && error.code === "EEXIST") return { answer: "yes" };
      throw error;
    }
    xfrm.execute([deleteSa(id)]);
    return { answer: "yes" };
  });
}

/** probePerCpu asks whether associations of one CPU are there (XFRMA_SA_PCPU, Linux 6.13): a kernel that has them tells the CPU back. */
export function probePerCpu(options: { readonly netns?: Netns } = {}): Ability {
  return probe(options.netns, (xfrm) => {
    const made: SaInfo = xfrm.allocateSpi({ ...ENDS[4], reqid: REQID, cpu: 0 });
    xfrm.execute([deleteSa(made)]);
    // Older kernels pass over attributes that they do not know.
    return { answer: made.cpu === 0 ? "yes" : "no" };
  });
}

function probe(netns: Netns | undefined, ask: (xfrm: Xfrm) => Ability): Ability {
  try {
    using xfrm = Xfrm.open({ netns });
    return ask(xfrm);
  } catch (error) {
    if (!(error instanceof NetlinkError) && !(error instanceof SystemError)) throw error;
    return { answer: LACKING.includes(error.code) ? "no" : "undecided", cause: error };
  }
}
