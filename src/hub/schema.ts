/** The register's tables. Append steps, never edit one that was released. */

/** registerSchema is the schema in steps. */
export const registerSchema: readonly string[] = [
  `
  -- One row: the mesh, the register's own identity, and the number of the last change.
  CREATE TABLE register (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    revision INTEGER NOT NULL,
    -- Removals up to this revision are forgotten: older nodes get everything.
    floor INTEGER NOT NULL DEFAULT 0,
    mesh TEXT NOT NULL
  ) STRICT;

  -- Who has what. Numbers are never given to another node before an explicit removal; addresses are written out, so that
  -- a change of the arithmetic renumbers nobody.
  CREATE TABLE node (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE CHECK (number >= 1),
    public_key TEXT NOT NULL UNIQUE,
    hub INTEGER NOT NULL,
    overlay4 TEXT NOT NULL UNIQUE,
    overlay6 TEXT NOT NULL UNIQUE,
    pods4 TEXT UNIQUE,
    pods6 TEXT UNIQUE,
    -- JSON lists of endpoints.
    endpoints TEXT NOT NULL,
    local TEXT NOT NULL DEFAULT '[]',
    observed TEXT,
    mtu_bytes INTEGER,
    site TEXT
  ) STRICT;

  -- Keys that may never come back.
  CREATE TABLE revoked_key (public_key TEXT PRIMARY KEY, node TEXT NOT NULL) STRICT;

  CREATE TABLE token (
    id TEXT PRIMARY KEY,
    -- SHA-256 of the text.
    hash TEXT NOT NULL,
    uses INTEGER NOT NULL,
    -- Milliseconds since 1970, this machine's clock.
    expires_at_ms INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    node TEXT
  ) STRICT;

  CREATE TABLE token_use (
    token TEXT NOT NULL REFERENCES token (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    public_key TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL UNIQUE,
    -- The node key that was registered through this use.
    bound_key TEXT,
    -- A handshake with that key was seen.
    spent INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (token, number)
  ) STRICT;
  CREATE INDEX token_use_bound ON token_use (bound_key);

  -- What nodes follow: mesh, node/NAME, pair/A/B. A null value is a removal.
  CREATE TABLE published (
    key TEXT PRIMARY KEY,
    value TEXT,
    revision INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX published_revision ON published (revision);

  -- Paths of pairs, a < b, and how often each changed.
  CREATE TABLE pair (
    a TEXT NOT NULL,
    b TEXT NOT NULL,
    path TEXT NOT NULL CHECK (path IN ('direct', 'hub')),
    generation INTEGER NOT NULL,
    PRIMARY KEY (a, b)
  ) STRICT;
  `,
  `
  -- A path is an endpoint that the two nodes find by themselves; nobody publishes it.
  DROP TABLE pair;
  DELETE FROM published WHERE key LIKE 'pair/%';
  UPDATE register SET floor = revision;
  -- Where each hub sees the node: JSON, hub name to endpoint. What its router forwards: JSON list.
  UPDATE node SET observed = json_object((SELECT name FROM node WHERE hub = 1), observed) WHERE observed IS NOT NULL;
  ALTER TABLE node ADD COLUMN mapped TEXT NOT NULL DEFAULT '[]';
  `,
  `
  -- What a newcomer becomes and where it stands, bound by its token; why a token was revoked.
  ALTER TABLE token ADD COLUMN role TEXT NOT NULL DEFAULT 'node';
  ALTER TABLE token ADD COLUMN site TEXT;
  ALTER TABLE token ADD COLUMN reason TEXT;
  -- Null: what the node is says it (nodeRole of resources).
  ALTER TABLE node ADD COLUMN role TEXT;
  -- The key that is about to take the place of public_key.
  ALTER TABLE node ADD COLUMN next_key TEXT;
  -- Number of the change that revoked the key.
  ALTER TABLE revoked_key ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- What is merely found out about nodes is told beside the register (facts.ts).
  ALTER TABLE node DROP COLUMN local;
  ALTER TABLE node DROP COLUMN mapped;
  ALTER TABLE node DROP COLUMN observed;
  ALTER TABLE node DROP COLUMN mtu_bytes;
  UPDATE published SET value = json_remove(value, '$.status') WHERE key LIKE 'node/%' AND value IS NOT NULL;
  UPDATE register SET revision = revision + 1, floor = revision + 1;
  -- Which entries of the log in etcd are in these tables. This hub's own; all other tables are the same at every hub.
  CREATE TABLE log_position (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL) STRICT;
  INSERT INTO log_position (id, number) VALUES (1, 0);
  `,
  `
  -- External peers. Names and numbers are of one kind with those of nodes; an address may be absent.
  CREATE TABLE peer (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE CHECK (number >= 1),
    public_key TEXT NOT NULL UNIQUE,
    hub TEXT NOT NULL,
    overlay4 TEXT UNIQUE,
    overlay6 TEXT UNIQUE,
    -- JSON list of networks behind it.
    allowed TEXT NOT NULL,
    -- Whether there is one; the key is a file of the hub.
    preshared_key INTEGER NOT NULL,
    endpoint TEXT,
    role TEXT,
    site TEXT
  ) STRICT;
  -- JSON list of networks behind the node that were approved.
  ALTER TABLE node ADD COLUMN subnets TEXT NOT NULL DEFAULT '[]';
  `,
  `
  -- For pre-shared keys (pair-key.ts), base64: what a use's holder and the hubs have in common until the use is bound; the same of each node; and
  -- of each generation of keys.
  ALTER TABLE token_use ADD COLUMN secret TEXT;
  CREATE TABLE node_secret (
    name TEXT PRIMARY KEY REFERENCES node (name) ON DELETE CASCADE,
    secret TEXT NOT NULL
  ) STRICT;
  CREATE TABLE psk (generation INTEGER PRIMARY KEY, secret TEXT NOT NULL) STRICT;
  `,
  `
  -- Resources of tenants' networks: word of the kind, name, manifest as JSON. How often they changed, and the VNI that is given next.
  CREATE TABLE tenant (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (kind, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE tenant_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    next_vni INTEGER NOT NULL
  ) STRICT;
  `,
  `
  -- Who has which addresses of subnets. Never published: nodes ask for their own. An address has one holder at most: a bit of one block, or a
  -- row of owned_address. Addresses are written as 32 hex digits, which sort like numbers.
  CREATE TABLE address_block (
    number INTEGER PRIMARY KEY,
    subnet TEXT NOT NULL,
    family INTEGER NOT NULL,
    first TEXT NOT NULL,
    length INTEGER NOT NULL,
    -- Which addresses the node may hand out: bit 0 is the first one's.
    usable INTEGER NOT NULL,
    node TEXT NOT NULL REFERENCES node (name) ON DELETE CASCADE,
    UNIQUE (subnet, family, first, length)
  ) STRICT;
  CREATE INDEX address_block_node ON address_block (node, subnet, family);
  -- Addresses that stay with their owner on whatever node; null: on none since its node was removed.
  CREATE TABLE owned_address (
    subnet TEXT NOT NULL,
    family INTEGER NOT NULL,
    address TEXT NOT NULL,
    owner TEXT NOT NULL,
    node TEXT REFERENCES node (name) ON DELETE SET NULL,
    PRIMARY KEY (subnet, family, address)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX owned_address_owner ON owned_address (subnet, owner);
  CREATE INDEX owned_address_node ON owned_address (node);
  -- Where the search for the next block goes on, and the number of the next grant.
  CREATE TABLE block_cursor (
    subnet TEXT NOT NULL,
    family INTEGER NOT NULL,
    block INTEGER NOT NULL,
    PRIMARY KEY (subnet, family)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE grant_counter (id INTEGER PRIMARY KEY CHECK (id = 1), next INTEGER NOT NULL) STRICT;
  `,
  `
  -- Of a hub: the key before public_key, which it still answers to and some still know it by. It is revoked when the hub drops it, or goes.
  ALTER TABLE node ADD COLUMN former_key TEXT;
  `,
  `
  -- Of a resource that a Kubernetes cluster put here: the uid of its namespace kube-system; null: whose it is that may command a hub.
  ALTER TABLE tenant ADD COLUMN owner TEXT;
  `,
  `
  -- What selections of nodes look at: a JSON object.
  ALTER TABLE node ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
  `,
];

/** replicatedTables lists the tables that commands write, those first that others refer to. They are what a snapshot holds. */
export const replicatedTables: readonly string[] = [
  "register",
  "node",
  "peer",
  "revoked_key",
  "token",
  "token_use",
  "node_secret",
  "psk",
  "published",
  "tenant",
  "tenant_state",
  "address_block",
  "owned_address",
  "block_cursor",
  "grant_counter",
];
