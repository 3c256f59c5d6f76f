/** What a plan says and nothing acts on yet: told to people, so that nobody believes that it holds. */
import type { EdgeDomain, EdgeRouter, FabricSession, HostLeg } from "./model.ts";

/** waits tells whether a domain has rules that nothing acts on yet: without them it would say and believe too much, so it does neither. */
export function waits({ routing }: EdgeDomain): boolean {
  return routing?.import !== undefined || routing?.export !== undefined;
}

/** legOf returns the leg of a domain that is made; none while the domain waits. */
export function legOf(domain: EdgeDomain): HostLeg | undefined {
  return waits(domain) ? undefined : domain.routing?.host;
}

/** notDone returns a sentence for each field of a router that is not acted on. */
export function notDone(router: EdgeRouter): string[] {
  return [
    ...router.sessions.flatMap(ofFabric),
    ...(router.passthrough === undefined ? [] : ofLeg("host session", router.passthrough)),
    ...router.domains.flatMap(ofDomain),
  ];
}

function ofFabric(session: FabricSession): string[] {
  return ofSession(`neighbor ${session.name}`, session);
}

function ofLeg(where: string, { session }: HostLeg): string[] {
  return ofSession(where, session);
}

function ofSession(where: string, { password }: Pick<FabricSession, "password">): string[] {
  return [
    ...(password !== undefined && "secret" in password
      ? [`${where} waits: a password from a Secret is not read yet; write password: {file: …}`]
      : []),
  ];
}

function ofDomain(domain: EdgeDomain): string[] {
  const { vpc, routing } = domain;
  const where = `VPC "${vpc}"`;
  const leg = routing?.host;
  return [
    ...(waits(domain)
      ? [
          `${where} waits, and neither announces nor imports: underlay.import and underlay.export are not acted on yet; remove them, and filter in sessions`,
        ]
      : []),
    ...(routing !== undefined && routing.leaks.length > 0
      ? [`${where}: underlay.leaks are not acted on yet`]
      : []),
    ...(leg === undefined ? [] : ofLeg(`${where}: its host session`, leg)),
  ];
}
