/** What a segment's bridge learns behind its link to the host is told, as it comes, moves and goes. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { EdgeStations, stationName } from "../../src/agent/edge-stations.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import { until } from "../support/evpn-cluster.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

const MAC = "02:00:00:00:00:01";

describe.skipIf(notRoot !== undefined)(
  `stations behind a link${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let scratch: Scratch;
    let route: Rtnetlink;
    const told: string[] = [];
    beforeEach(async () => {
      told.length = 0;
      scratch = new Scratch();
      route = Rtnetlink.open({ netns: scratch.netns });
      // The far ends say nothing of their own.
      for (const name of ["all", "default"]) scratch.text(`sysctl -qw net.ipv6.conf.${name}.disable_ipv6=1`);
      for (const command of [
        "link add br7 type bridge",
        "link add host7 type veth peer name far",
        "link add other type veth peer name far2",
        ...["br7 up", "host7 master br7 up", "other master br7 up", "far up", "far2 up"].map(
          (what) => `link set ${what}`,
        ),
        "address add 10.7.0.1/24 dev br7",
      ])
        scratch.text(`ip ${command}`);
      // The kernel brings a port to that a moment after its link is up, and takes no entry that ages before (fdb_add_entry, net/bridge/br_fdb.c).
      for (const port of ["host7", "other"])
        await until(`${port} to forward`, async () =>
          scratch.text(`bridge -d link show dev ${port}`).includes("state forwarding"),
        );
    });
    afterEach(() => {
      route.close();
      scratch[Symbol.dispose]();
    });
    const open = () =>
      new EdgeStations({
        ...{ netns: scratch.netns, route },
        onHere: (station, claim) => void told.push(`${claim} ${stationName(station)}`),
        onGone: (station) => void told.push(`gone ${stationName(station)}`),
        onProblem: (error) => void told.push(error.message),
      });
    /** As the bridge itself would: an entry that ages. */
    const learn = (port: string) => scratch.text(`bridge fdb replace ${MAC} dev ${port} master dynamic`);
    const neighbour = (state: string) =>
      scratch.text(`ip neigh replace 10.7.0.5 lladdr ${MAC} dev br7 nud ${state}`);
    const heard = async (...lines: string[]) => {
      await until(lines.join(), async () => told.length >= lines.length);
      expect(told.splice(0)).toEqual(lines);
    };

    test("what is there is known, what comes has arrived; an address without its port is nobody's", async () => {
      learn("host7");
      neighbour("reachable");
      using stations = open();
      stations.setSegments([7]);
      await heard(`known behind 7 ${MAC}`, `known behind 7 ${MAC} 10.7.0.5`);
      scratch.text(`bridge fdb del ${MAC} dev host7 master`);
      await heard(`gone behind 7 ${MAC}`, `gone behind 7 ${MAC} 10.7.0.5`);
      learn("host7");
      await heard(`arrived behind 7 ${MAC}`, `arrived behind 7 ${MAC} 10.7.0.5`);
      scratch.text("ip neigh del 10.7.0.5 dev br7");
      await heard(`gone behind 7 ${MAC} 10.7.0.5`);
      expect(stations.stations.map(stationName)).toEqual([`behind 7 ${MAC}`]);
      stations.setSegments([]);
      await heard(`gone behind 7 ${MAC}`);
    });

    test("an address that another port has now is gone, and what is not learned never was here", async () => {
      using stations = open();
      stations.setSegments([7]);
      scratch.text("bridge fdb add 02:00:00:00:00:09 dev host7 master static");
      learn("host7");
      await heard(`arrived behind 7 ${MAC}`);
      learn("other");
      await heard(`gone behind 7 ${MAC}`);
    });

    test("a port that was removed and made again is the same to all", async () => {
      using stations = open();
      stations.setSegments([7]);
      learn("host7");
      await heard(`arrived behind 7 ${MAC}`);
      scratch.text("ip link del host7");
      await heard(`gone behind 7 ${MAC}`);
      for (const command of ["add host7 type veth peer name far", "set host7 master br7 up", "set far up"])
        scratch.text(`ip link ${command}`);
      await until("the port forwards", async () =>
        scratch.text("bridge link show dev host7").includes("state forwarding"),
      );
      learn("host7");
      await heard(`arrived behind 7 ${MAC}`);
    });

    test("what goes wrong is told, and ends nothing", async () => {
      using stations = new EdgeStations({
        ...{ netns: scratch.netns, route },
        onHere: () => {
          throw new Error("the kernel refuses it");
        },
        onGone: (station) => void told.push(`gone ${stationName(station)}`),
        onProblem: (error) => void told.push(error.message),
      });
      stations.setSegments([7]);
      learn("host7");
      await heard("the kernel refuses it");
      scratch.text(`bridge fdb del ${MAC} dev host7 master`);
      await heard(`gone behind 7 ${MAC}`);
    });

    test("who has moved here is asked for an address once the node where he was has taken it back", async () => {
      using stations = open();
      stations.setSegments([7]);
      scratch.text(`ip neigh replace 10.7.0.5 lladdr ${MAC} dev br7 nud noarp extern_learn`);
      scratch.text("ip neigh replace 10.7.0.6 lladdr 02:00:00:00:00:02 dev br7 nud noarp extern_learn");
      learn("host7");
      await heard(`arrived behind 7 ${MAC}`);
      for (const last of [6, 5]) scratch.text(`ip neigh del 10.7.0.${last} dev br7`);
      await until("it is asked for", async () =>
        /^10\.7\.0\.5 .*(INCOMPLETE|FAILED)/m.test(scratch.text("ip neigh show dev br7 nud all")),
      );
      expect(scratch.text("ip neigh show dev br7 nud all")).not.toContain("10.7.0.6");
    });

    test("who has moved here, and does not answer yet, is asked again", async () => {
      scratch.text("sysctl -qw net.ipv4.neigh.br7.retrans_time_ms=10");
      using stations = open();
      stations.setSegments([7]);
      scratch.text(`ip neigh replace 10.7.0.5 lladdr ${MAC} dev br7 nud noarp extern_learn`);
      learn("host7");
      await heard(`arrived behind 7 ${MAC}`);
      scratch.text("ip neigh del 10.7.0.5 dev br7");
      await until("it was asked in vain", async () =>
        /^10\.7\.0\.5 .*FAILED/m.test(scratch.text("ip neigh show dev br7 nud all")),
      );
      const machine = scratch.another();
      scratch.text(`ip link set far netns ${machine.path}`);
      for (const command of [`link set far address ${MAC} up`, "address add 10.7.0.5/24 dev far"])
        scratch.text(`ip ${command}`, machine);
      await until("the port forwards", async () =>
        scratch.text("bridge link show dev host7").includes("state forwarding"),
      );
      learn("host7");
      stations.ask();
      await until("its address is told", async () => told.includes(`arrived behind 7 ${MAC} 10.7.0.5`));
    });

    test("what the router is not sure of is asked for", async () => {
      using stations = open();
      stations.setSegments([7]);
      learn("host7");
      neighbour("stale");
      await heard(`arrived behind 7 ${MAC}`, `arrived behind 7 ${MAC} 10.7.0.5`);
      expect(scratch.text("ip neigh show dev br7")).toContain("STALE");
      stations.ask();
      expect(scratch.text("ip neigh show dev br7")).toMatch(/DELAY|PROBE/);
    });
  },
);
