/** XFRM as far as it goes without ESP: policies, SPIs, questions and expiries; ip-xfrm(8) is the witness. */
import { describe, expect, test } from "bun:test";
import { KeyMaterial, parseIp, parsePrefix } from "../../src/net/mod.ts";
import {
  addLink,
  addPolicy,
  addSa,
  deletePolicy,
  deleteSa,
  type PolicyChange,
  probeEsp,
  probePerCpu,
  type SaChange,
  updatePolicy,
  Xfrm,
  type XfrmEvent,
  XfrmMonitor,
} from "../../src/netlink/mod.ts";
import { isErrno, runSync } from "../../src/sys/mod.ts";
import { notRoot, refusal, Scratch } from "../support/scratch.ts";
import { policyText, saText, witnessedPolicies, witnessedSas } from "../support/xfrm-text.ts";

function lacksXfrm(): string | undefined {
  if (notRoot !== undefined) return notRoot;
  try {
    Xfrm.open().close();
    return undefined;
  } catch (error) {
    if (isErrno(error, "EPROTONOSUPPORT")) return "this kernel has no XFRM";
    throw error;
  }
}

const lacking = lacksXfrm();
const perCpu = lacking === undefined && hasPerCpu();

function hasPerCpu(): boolean {
  using scratch = new Scratch();
  return probePerCpu({ netns: scratch.netns }).answer === "yes";
}

const ends = { source: parseIp("192.0.2.1"), destination: parseIp("192.0.2.2") };
const ends6 = { source: parseIp("2001:db8::1"), destination: parseIp("2001:db8::2") };
const selector = { source: parsePrefix("10.0.0.0/8"), destination: parsePrefix("10.1.0.0/16") };
const selector6 = { source: parsePrefix("fd00::/16"), destination: parsePrefix("fd01::/16") };

const policies: readonly PolicyChange[] = [
  { direction: "out", selector, priority: 5, templates: [{ ...ends, reqid: 7 }] },
  { direction: "in", selector, priority: 6, templates: [{ ...ends6, reqid: 7, optional: true }] },
  { direction: "fwd", selector: selector6, priority: 7, templates: [{ ...ends, reqid: 8, spi: 0x1000 }] },
  { direction: "out", selector: { ...selector, protocol: 17, destinationPort: 53 }, priority: 4 },
  { direction: "out", selector: selector6, priority: 9, action: "block" },
  { direction: "out", selector, priority: 5, mark: { value: 1, mask: 0xff }, ifId: 9 },
];

const open = () =>
  Scratch.prepared((scratch) => {
    const xfrm = Xfrm.open({ netns: scratch.netns });
    const close = () => xfrm.close();
    return { xfrm, close };
  });

describe.skipIf(lacking !== undefined)(`XFRM${lacking === undefined ? "" : ` (${lacking})`}`, () => {
  test("policies are made, read as ip(8) reads them, replaced and removed", () => {
    using scratch = open();
    const { xfrm } = scratch;
    expect(xfrm.execute(policies.map(addPolicy))).toEqual(policies.map(() => undefined));
    expect(xfrm.policies().map(policyText).sort()).toEqual(
      witnessedPolicies(scratch.text("ip xfrm policy")).sort(),
    );
    expect(xfrm.policies()).toHaveLength(policies.length);
    for (const policy of policies) expect(xfrm.policy(policy)?.priority).toBe(policy.priority);
    const [first] = policies as [PolicyChange];
    expect(refusal(() => xfrm.request(addPolicy(first)))).toMatchObject({ code: "EEXIST" });
    const limits = { soft: { addSeconds: 1000n }, hard: { bytes: 5000n, packets: 6n, useSeconds: 7n } };
    xfrm.request(updatePolicy({ ...first, priority: 77, limits, templates: [{ ...ends6, reqid: 1 }] }));
    expect(xfrm.policy(first)).toMatchObject({ priority: 77, limits, templates: [{ ...ends6, reqid: 1 }] });
    xfrm.execute(policies.map(deletePolicy));
    expect(xfrm.policies()).toEqual([]);
    expect(xfrm.policy(first)).toBeUndefined();
    expect(refusal(() => xfrm.request(deletePolicy(first)))).toMatchObject({ code: "ENOENT" });
    scratch.close();
  });

  test("an SPI is allocated once, from its range, and given back", () => {
    using scratch = open();
    const { xfrm } = scratch;
    const range = (spi: number) => ({ least: spi, most: spi });
    const spis = [5000, 5001].map((spi) => xfrm.allocateSpi({ ...ends, ...range(spi), reqid: spi }).spi);
    expect(spis).toEqual([5000, 5001]);
    const third = refusal(() => xfrm.allocateSpi({ ...ends, ...range(5000), reqid: 3 }));
    expect(third.message).toStartWith("Cannot allocate an SPI from 5000 to 5000: ");
    expect(third.code).toBe("ENOENT");
    expect(xfrm.allocateSpi({ ...ends6, reqid: 1 })).toMatchObject(ends6);
    expect(xfrm.sas().map(saText).sort()).toEqual(witnessedSas(scratch.text("ip xfrm state")).sort());
    // The wish that was refused waits without an SPI.
    expect(xfrm.sas().filter(({ spi }) => spi === 0)).toHaveLength(1);
    expect(xfrm.sas()).toHaveLength(4);
    const id = { destination: ends.destination, spi: 5000 };
    expect(xfrm.sa(id)).toMatchObject({ ...id, extended: false, mode: "tunnel" });
    expect(xfrm.sa(id)?.algorithm).toBeUndefined();
    const gone = deleteSa(id);
    xfrm.request(gone);
    expect(xfrm.sa(id)).toBeUndefined();
    // What was sent is wiped: it may have been a key.
    expect(gone.message.body.every((byte) => byte === 0)).toBe(true);
    expect(refusal(() => xfrm.request(deleteSa(id)))).toMatchObject({ code: "ESRCH" });
    scratch.close();
  });

  test("a packet without association makes the kernel ask, and the answer names the question", () => {
    using scratch = open();
    const { xfrm } = scratch;
    scratch.route.request(addLink({ name: "br0", type: "bridge", up: true }));
    scratch.text("ip addr add 10.0.0.1/8 dev br0");
    scratch.text("ip link set lo up");
    const events: XfrmEvent[] = [];
    using monitor = XfrmMonitor.open({
      netns: scratch.netns,
      onEvent: (event) => events.push(event),
      onOverrun: () => expect.unreachable(),
    });
    const policy = { direction: "out", selector, priority: 5, templates: [{ ...ends, reqid: 7 }] } as const;
    xfrm.request(addPolicy(policy));
    runSync("ping -n -c 1 -W 1 10.1.0.1".split(" "), { netns: scratch.netns });
    monitor.drain();
    expect(events.map(({ kind }) => kind).slice(0, 2)).toEqual(["policy", "acquire"]);
    const acquire = events.flatMap((event) => (event.kind === "acquire" ? [event.acquire] : []))[0];
    expect(acquire).toMatchObject({ ...ends, policy: { direction: "out", priority: 5 } });
    expect(acquire?.sequence).toBeGreaterThan(0);
    expect(acquire?.selector).toMatchObject({ destination: parsePrefix("10.1.0.1/32") });
    events.length = 0;
    xfrm.request(deletePolicy(policy));
    scratch.text("ip xfrm state flush");
    monitor.drain();
    expect(events).toMatchObject([
      { kind: "policy", deleted: true, policy: { priority: 5 } },
      { kind: "flush", what: "sas" },
    ]);
    scratch.close();
  });

  test("what ran out by time is told", async () => {
    using scratch = open();
    const { xfrm } = scratch;
    // How long an SPI waits to be completed.
    scratch.text("sysctl -w net.core.xfrm_acq_expires=1");
    const events: XfrmEvent[] = [];
    const expired = Promise.withResolvers<void>();
    using _monitor = XfrmMonitor.open({
      netns: scratch.netns,
      groups: ["expire"],
      onEvent: (event) => {
        events.push(event);
        if (events.length === 2) expired.resolve();
      },
      onOverrun: () => expect.unreachable(),
    });
    const { spi } = xfrm.allocateSpi({ ...ends, reqid: 1 });
    const limits = { hard: { addSeconds: 1n } };
    xfrm.request(addPolicy({ direction: "in", selector, priority: 3, limits }));
    await expired.promise;
    expect(events.find(({ kind }) => kind === "expire")).toMatchObject({ hard: true, sa: { spi } });
    expect(events.find(({ kind }) => kind === "policy-expire")).toMatchObject({
      hard: true,
      policy: { priority: 3, limits },
    });
    scratch.close();
  });

  test("probes leave nothing behind, and say when they cannot tell", () => {
    using scratch = open();
    const { xfrm } = scratch;
    const { netns } = scratch;
    const [major = 0, minor = 0] = runSync(["uname", "-r"]).stdout.split(".").map(Number);
    expect(probePerCpu({ netns })).toEqual({ answer: major * 100 + minor >= 613 ? "yes" : "no" });
    for (const algorithm of ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"] as const)
      for (const outer of [4, 6] as const)
        expect(["yes", "no"]).toContain(probeEsp({ algorithm, outer, netns }).answer);
    expect(xfrm.sas()).toEqual([]);
    // Whoever may not ask has not heard no.
    const words = `import { probePerCpu, probeEsp } from "${import.meta.dir}/../../src/netlink/mod.ts";
      console.log(probePerCpu().answer, probeEsp({ algorithm: "aes-128-gcm", outer: 4 }).answer);`;
    const argv = ["setpriv", "--bounding-set=-net_admin", process.execPath, "-e", words];
    expect(runSync(argv, { netns })).toMatchObject({ status: 0, stdout: "undecided undecided\n" });
    scratch.close();
  });

  test.skipIf(!perCpu)(
    "an association of one CPU, with its direction, is refused for the lack of ESP at most",
    () => {
      using scratch = open();
      const { xfrm } = scratch;
      using material = new KeyMaterial(new Uint8Array(36));
      const change = {
        ...ends,
        algorithm: "aes-256-gcm",
        material,
        extended: true,
        reqid: 7,
        cpu: 0,
      } as const;
      for (const [spi, direction] of [
        [0x1000, "in"],
        [0x1001, "out"],
      ] as const) {
        const sa: SaChange = { ...change, spi, direction, ...(direction === "out" && { sent: 5n }) };
        const [error] = xfrm.execute([addSa(sa)]);
        // The kernel looks at everything else before it looks for the algorithm.
        expect(["none", "ENOSYS", "EPROTONOSUPPORT"]).toContain(error?.code ?? "none");
        if (error === undefined) expect(xfrm.sa(sa)).toMatchObject({ cpu: 0, direction });
      }
      scratch.close();
    },
  );
});
