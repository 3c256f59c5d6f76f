/** What a plan says and nothing acts on yet: told to people, so that nobody believes that it holds. */
import type { EdgeDomain, EdgeRouter, FabricSession, HostLeg } from "./model.ts";

/** notDone returns a sentence for each field of a router that is not acted on. */
export function notDone(router: EdgeRouter): string[] {
  return [
    ...router.sessions.flatMap(ofFabric),
    ...(router.passthrough === undefined ? [] : ofLeg("host session", router.passthrough)),
    ...router.domains.flatMap(ofDomain),
  ];
}

function ofFabric(session: FabricSession): string[] {
  const { name, families } = session;
  const clients = families.filter(({ routeReflectorClient }) => routeReflectorClient);
  return [
    ...ofSession(`neighbor ${name}`, session),
    ...(clients.length > 0 && clients.length < families.length
      ? [`neighbor ${name} is a client of the reflector in all families, not in some`]
      : []),
  ];
}

function ofLeg(where: string, { session }: HostLeg): string[] {
  return ofSession(where, session);
}

function ofSession(where: string, { password, bfd }: Pick<FabricSession, "password" | "bfd">): string[] {
  return [
    ...(password !== undefined && "secret" in password
      ? [`${where} waits: a password from a Secret is not read yet; write password: {file: …}`]
      : []),
    ...(bfd?.passive === true ? [`${where}: bfd.passive is not acted on yet; both ends begin`] : []),
    ...(bfd?.minimumTtl === undefined ? [] : [`${where}: bfd.minimumTtl is not acted on yet`]),
  ];
}

function ofDomain(domain: EdgeDomain): string[] {
  const { vpc, routing, segments } = domain;
  const where = `VPC "${vpc}"`;
  const leg = routing?.host;
  return [
    ...[routing?.import, routing?.export].flatMap((rules, i) =>
      rules?.some(({ set }) => set.nextHop !== undefined) === true
        ? [
            `${where}: nextHop in underlay.${i === 0 ? "import" : "export"} changes nothing: tunnel endpoints stay`,
          ]
        : [],
    ),
    ...(leg === undefined ? [] : ofLeg(`${where}: its host session`, leg)),
    ...segments
      .filter(({ hostLink }) => hostLink !== undefined)
      .map(({ subnet }) => `Subnet "${subnet}": hostLink and hostBridge are not made yet`),
  ];
}
