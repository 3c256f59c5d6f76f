/** What a plan says and nothing acts on yet: told to people, so that nobody believes that it holds. */
import type { EdgeDomain, EdgeRouter, FabricSession, HostLeg, PlannedSession } from "./model.ts";

/** notDone returns a sentence for each field of a router that is not acted on. */
export function notDone(router: EdgeRouter): string[] {
  return [
    ...router.sessions.flatMap(ofFabric),
    ...(router.passthrough === undefined ? [] : ofPassthrough(router, router.passthrough)),
    ...router.domains.flatMap(ofDomain),
  ];
}

function ofFabric(session: FabricSession): string[] {
  return ofSession(`neighbor ${session.name}`, session);
}

/** Refused when it is applied; a resource of a file, or of an earlier version, may say it nevertheless. */
function ofPassthrough({ asn }: EdgeRouter, leg: HostLeg): string[] {
  const other = `host session: asn ${leg.asn} changes nothing: it has the Underlay's, ${asn}`;
  return [...(leg.asn === asn ? [] : [other]), ...ofLeg("host session", leg)];
}

function ofLeg(where: string, { session }: HostLeg): string[] {
  return ofSession(where, session);
}

function ofSession(where: string, { waits, note }: PlannedSession): string[] {
  return [
    ...(waits === undefined ? [] : [`${where} waits: ${waits}`]),
    ...(note === undefined ? [] : [`${where} goes on with the password that it had: ${note}`]),
  ];
}

function ofDomain(domain: EdgeDomain): string[] {
  const { vpc, routing } = domain;
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
  ];
}
