/** The description of an Internet gateway device: which of its services maps ports, and where it is controlled (UPnP IGD 1 and 2, section 2). */
import type { Ip } from "../net/mod.ts";
import { type Location, parseLocation } from "./ssdp.ts";
import { childText, descendants, parseXml, type XmlElement } from "./xml.ts";

/** IgdService is the service that maps ports. */
export interface IgdService {
  /** Its URN, as actions name it. */
  readonly type: string;
  /** Whether it knows AddAnyPortMapping (WANIPConnection:2). */
  readonly anyPort: boolean;
  readonly control: Location;
}

/** What maps ports, the best first. */
const SERVICES = ["WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1"] as const;

/** parseDescription returns the services, the best first; none for what is no description, or controlled elsewhere than on the gateway. */
export function parseDescription(document: string, at: Location & { readonly gateway: Ip }): IgdService[] {
  const root = parseXml(document);
  if (root === undefined || root.name !== "root") return [];
  const base = childText(root, "URLBase");
  const services = descendants(root, "service");
  return SERVICES.flatMap((name) =>
    services.flatMap((service) => {
      const type = childText(service, "serviceType") ?? "";
      const control = resolve(service, { ...at, base });
      if (type !== `urn:schemas-upnp-org:service:${name}` || control === undefined) return [];
      return [{ type, anyPort: name === "WANIPConnection:2", control }];
    }),
  );
}

function resolve(
  service: XmlElement,
  at: Location & { readonly gateway: Ip; readonly base: string | undefined },
): Location | undefined {
  const url = childText(service, "controlURL");
  if (url === undefined || url === "") return undefined;
  if (/^[a-z]+:/i.test(url)) return parseLocation(url, at.gateway);
  const base = at.base === undefined || at.base === "" ? at : parseLocation(at.base, at.gateway);
  if (base === undefined || !/^[\x21-\x7e]{1,512}$/.test(url)) return undefined;
  return { port: base.port, path: url.startsWith("/") ? url : `/${url}` };
}
