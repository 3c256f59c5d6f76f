/** The demo's second part: two tenants with the same addresses on the same nodes; each reaches its own pods, and only those. */
import { type Lab, until } from "../../src/lab/mod.ts";

/** Tenants is what was found. */
export interface Tenants {
  /** The network that both have. */
  readonly network: string;
  readonly pods: readonly {
    readonly tenant: string;
    readonly name: string;
    readonly node: string;
    readonly ip4: string;
  }[];
  /** Pairs of pods of one tenant that answer, of so many. */
  readonly inside: { readonly answered: number; readonly of: number };
  /** Pods that answered under an address that only the other tenant has, of so many that were asked. */
  readonly across: { readonly answered: number; readonly of: number };
}

const NETWORK = "10.50.0.0/24";
const NAMES = ["red", "blue"] as const;
/** Behind a cone NAT, behind a symmetric one, and public. */
const NODES = ["a1", "b1", "c1"] as const;
/** Only blue has it. */
const BLUE_ONLY = "10.50.0.77";

const manifest = (tenant: string) => `apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: { name: ${tenant} }
spec: { allow: { namespaces: ["*"] } }
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: ${tenant} }
spec: { vpc: ${tenant}, prefixes: [${NETWORK}], fixed: [${BLUE_ONLY}] }
---
`;

/** proveTenants makes two tenants, and has each pod ping all others of its own, and one address of the other's. */
export async function proveTenants(lab: Lab): Promise<Tenants> {
  await lab.causewayJson("hub", ["apply", "-f", "-"], NAMES.map(manifest).join(""));
  const pods: Tenants["pods"][number][] = [];
  const add = async (tenant: string, node: string, fixed?: string) => {
    const name = `${tenant}-${node}${fixed === undefined ? "" : "-fixed"}`;
    const runtimeConfig = fixed === undefined ? {} : { ips: [fixed] };
    const config = { cniVersion: "1.0.0", name: tenant, type: "causeway", vpc: tenant, runtimeConfig };
    await lab.addPod(node, name, [{ config }]);
    const { stdout } = await lab.exec(name, ["ip", "-4", "-j", "addr", "show", "eth0"]);
    const [{ addr_info: found }] = JSON.parse(stdout) as [{ addr_info: { local: string }[] }];
    pods.push({ tenant, name, node, ip4: found[0]?.local ?? "" });
  };
  for (const node of NODES) for (const tenant of NAMES) await add(tenant, node);
  await add("blue", "c1", BLUE_ONLY);
  const pings = async (from: string, to: string) =>
    (await lab.exec(from, ["ping", "-n", "-c1", "-W1", to])).status === 0;
  const pairs = pods.flatMap((from) =>
    pods.filter((to) => to.tenant === from.tenant && to !== from).map((to) => [from, to] as const),
  );
  let answered = 0;
  for (const [from, to] of pairs) {
    // Where others are is told by BGP, some milliseconds after they came.
    const asked = until(async () => ((await pings(from.name, to.ip4)) ? undefined : "no answer"), {
      what: `${to.name} to answer ${from.name}`,
      deadlineMs: 10_000,
    });
    if (
      await asked.then(
        () => true,
        () => false,
      )
    )
      answered++;
  }
  const strangers = pods.filter(({ tenant }) => tenant === "red");
  const crossed = await Promise.all(strangers.map(({ name }) => pings(name, BLUE_ONLY)));
  return {
    network: NETWORK,
    pods,
    inside: { answered, of: pairs.length },
    across: { answered: crossed.filter(Boolean).length, of: strangers.length },
  };
}
