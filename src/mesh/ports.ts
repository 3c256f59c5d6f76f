/** Ports of the mesh's own services; all of them are reachable inside the tunnel only. */

/** ENROL_PORT is where newcomers register, TCP on the first address of the enrolment prefix. */
export const ENROL_PORT = 7472;

/** SYNC_PORT is where nodes follow the register, TCP on the hub's overlay addresses. */
export const SYNC_PORT = 7473;

/** GOSSIP_PORT is where nodes tell each other of removals, TCP on every node's overlay addresses; next to SYNC_PORT. */
export const GOSSIP_PORT = 7474;
