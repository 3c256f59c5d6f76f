/** Passwords of a plan's sessions: where they are said to be, and where they are found. A password itself is in no value here. */
import type { EdgeSession, PasswordReference } from "../resources/mod.ts";
import type { EdgeRouter, HostLeg, NodeEdge, PlannedSession } from "./model.ts";

/** PasswordState is what is known of a password. */
export type PasswordState =
  /** The file that it is in; `note`: what is wrong all the same. */
  | { readonly file: string; readonly note?: string }
  /** Why there is none, and what to do. */
  | { readonly problem: string };

/** passwordKey identifies where a password is. */
export function passwordKey(reference: PasswordReference): string {
  if ("file" in reference) return `file ${reference.file}`;
  const { namespace, name, key } = reference.secret;
  return `secret ${namespace}/${name}/${key}`;
}

/** passwordsOf returns where passwords of all sessions are, each once. */
export function passwordsOf({ routers }: NodeEdge): PasswordReference[] {
  const found = new Map<string, PasswordReference>();
  const see = ({ password }: EdgeSession) => {
    if (password !== undefined) found.set(passwordKey(password), password);
  };
  for (const { sessions, passthrough, domains } of routers) {
    sessions.forEach(see);
    const legs = [passthrough, ...domains.map(({ routing }) => routing?.host)];
    for (const leg of legs) if (leg !== undefined) see(leg.session);
  }
  return [...found.values()];
}

/** withPasswords returns an edge whose sessions have files, or say what they wait for. One of which nothing is known stays as it is. */
export function withPasswords(
  { routers }: NodeEdge,
  known: ReadonlyMap<string, PasswordState>,
): { readonly routers: readonly EdgeRouter[] } {
  const found = <S extends PlannedSession>(session: S): S => {
    const state = session.password && known.get(passwordKey(session.password));
    if (state === undefined) return session;
    if ("problem" in state) return { ...session, waits: state.problem };
    return { ...session, password: { file: state.file }, ...(state.note && { note: state.note }) };
  };
  const ofLeg = (leg: HostLeg): HostLeg => ({ ...leg, session: found(leg.session) });
  return {
    routers: routers.map((router) => ({
      ...router,
      sessions: router.sessions.map(found),
      ...(router.passthrough && { passthrough: ofLeg(router.passthrough) }),
      domains: router.domains.map((domain) => {
        const { routing } = domain;
        if (routing?.host?.session.password === undefined) return domain;
        return { ...domain, routing: { ...routing, host: ofLeg(routing.host) } };
      }),
    })),
  };
}
