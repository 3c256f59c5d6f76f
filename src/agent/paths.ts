/** Where the agent keeps things. One agent per network and mount namespace, so these never differ. */

/** State that outlives a reboot: keys, register, pods. Mode 0700. */
export const STATE = "/var/lib/causeway";

/** Sockets. Mode 0755; each socket has a mode of its own. */
export const RUN = "/run/causeway";

/** Manifests of what runs on this node alone: BGP routers, its edge in a fabric, and gateways, which have processes of their own. */
export const MANIFESTS = "/etc/causeway/manifests";

/** What links were like that were moved into a router of the edge; only while one is. */
export const EDGE_LINKS = `${STATE}/edge-links.json`;

/** What kernel settings were before ours. */
export const EARLIER_SETTINGS = `${RUN}/earlier-settings.json`;

/** Sockets of gateways' processes, `NAME.sock` each, and manifests of those that the agent runs, `NAME.yaml`. */
export const GATEWAYS = `${RUN}/gateway`;

/** What CNI plugins have made for routers of the edge, as they have to be asked to remove it. */
export const EDGE_CHAINS = `${STATE}/edge-chains.json`;

/** Passwords of the edge's sessions that were in Secrets of Kubernetes, each in a file. */
export const EDGE_PASSWORDS = `${STATE}/edge-passwords`;

/** Where BGP routers are looked at: 0660, group `causeway` where there is one. */
export const BGP_SOCKET = `${RUN}/bgp.sock`;

/** The command line's socket: 0660, group `causeway` where there is one; operations that change something are root's. */
export const CTL_SOCKET = `${RUN}/ctl.sock`;
